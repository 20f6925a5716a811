"""Arguments that are rendered when a task runs: checked at once where they are no templates, and rendered as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import jinja2
    from airflow.providers.common.compat.sdk import BaseOperator as Operator
    from airflow.providers.common.compat.sdk import Context
else:
    Operator = (
        object  # Airflow gives each class below its own an __init__, which would pass over that of sensors
    )

_MARKS = ("{{", "{%", "{#")


def is_template(given: object) -> bool:
    """
    Tell whether Airflow makes something else of an argument before its task runs.

    :param given: the argument. A text with Jinja's marks is one, the output of another task, and a function.
    """
    if isinstance(given, str):
        return any(mark in given for mark in _MARKS)
    return callable(given) or hasattr(given, "iter_references")


def check_unless_template(check: Callable[..., object], given: object, *arguments: object) -> None:
    """
    Check an argument when the DAG is parsed, if its value is known by then.

    :param check: one of :mod:`airflow_mrs.manager.arguments`.
    :param given: the argument.
    :param arguments: what else the check takes.
    :raises InvalidArgument: naming the argument.
    """
    if not is_template(given):
        check(given, *arguments)


class RendersTexts(Operator):
    """
    Stands before the base of an operator whose templates are rendered as texts, also where the DAG says ``render_template_as_native_obj``.

    That makes ``2`` a number, ``0.10`` the number 0.1, and a connection ``007`` the number 7. Manager knows texts.
    """

    def render_template(
        self,
        content: Any,  # noqa: ANN401 - Airflow's signature
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:  # noqa: ANN401
        """
        Render a template. What a mapped task was handed by another one is none.

        :param content: the template, or what holds templates.
        :param context: Airflow's context.
        :param jinja_env: the environment that Airflow has chosen.
        :param seen_oids: what is rendered already, or must not be.
        """
        if isinstance(content, str) and id(content) not in (seen_oids or ()) and _is_native(jinja_env):
            return self.dag.get_template_env(force_sandboxed=True).from_string(content).render(dict(context))
        return super().render_template(content, context, jinja_env, seen_oids)


def _is_native(environment: jinja2.Environment | None) -> bool:
    from jinja2.nativetypes import NativeEnvironment  # noqa: PLC0415 - only where something is rendered

    return isinstance(environment, NativeEnvironment)
