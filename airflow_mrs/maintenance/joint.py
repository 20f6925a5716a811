"""A task that does nothing but stand between two others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, BaseSensorOperator, SkipMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, MappedOperator

# On Airflow 2 they are of that class too, and never make use of it.
_SENSORS = (BaseSensorOperator,) if issubclass(BaseSensorOperator, SkipMixin) else ()


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
        operator: Any = getattr(task, "operator_class", type(task))
        return issubclass(operator, SkipMixin) and not issubclass(operator, _SENSORS)

    def execute(self, context: Context) -> None:
        """
        Do nothing.

        :param context: Airflow's context.
        """
