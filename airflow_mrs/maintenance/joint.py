"""A task that does nothing but stand between two others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperator, SkipMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, MappedOperator


class Joint(BaseOperator):
    """
    Stands behind a task that skips what comes right after it.

    A branch does so even to a teardown, as a start is one. What comes after the joint looks at its own trigger rule.
    """

    ui_color = "#d9e2ec"

    @classmethod
    def is_needed_behind(cls, task: BaseOperator | MappedOperator) -> bool:
        """
        Tell whether a task may skip what comes right after it.

        :param task: any task.
        """
        return issubclass(getattr(task, "operator_class", type(task)), SkipMixin)

    def execute(self, context: Context) -> None:
        """
        Do nothing.

        :param context: Airflow's context.
        """
