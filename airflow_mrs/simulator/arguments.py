"""Calls whose arguments come as JSON."""

from __future__ import annotations

import inspect
from functools import partial
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Returned = TypeVar("Returned")


def prepare(function: Callable[..., Returned], arguments: Mapping[str, object]) -> Callable[[], Returned]:
    """Return the call of a function or class; raise ValueError if the arguments are not what it takes."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise ValueError(str(error)) from error
    hints = get_type_hints(function)
    for name, value in arguments.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{name} cannot be {value!r}")
    return partial(function, **arguments)


def _fits(value: object, hint: Any) -> bool:  # noqa: ANN401 - hints are of no one type
    origin = get_origin(hint)
    if origin in {Union, UnionType}:
        return any(_fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if isinstance(value, bool):
        return hint in {bool, object}
    return isinstance(value, int | float if hint is float else origin or hint)
