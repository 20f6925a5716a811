"""Calls whose arguments come as JSON."""

from __future__ import annotations

import inspect
import json
import math
from functools import partial
from reprlib import repr as brief
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Returned = TypeVar("Returned")

_DEEPEST = 32
_TOO_DEEP = f"more than {_DEEPEST} levels"


def read(body: bytes) -> dict[str, Any]:
    """Return a JSON object; raise ValueError if this is none, or one that could not be written again."""
    try:
        fields = json.loads(body, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004
    if _is_deeper(fields, _DEEPEST):
        raise ValueError(_TOO_DEEP)
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("half of a character") from error
    return fields


def prepare(function: Callable[..., Returned], arguments: Mapping[str, object]) -> Callable[[], Returned]:
    """Return the call of a function or class; raise ValueError if the arguments are not what it takes."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise ValueError(str(error)) from error
    hints = get_type_hints(function, include_extras=True)
    for name, value in arguments.items():
        if not fits(value, hints[name]):
            wanted = " or ".join(map(str, _limits(hints[name])))
            raise ValueError(f"{name} cannot be {brief(value)}" + (f", only {wanted}" if wanted else ""))
    return partial(function, **arguments)


def fits(value: object, hint: Any) -> bool:  # noqa: ANN401 - hints are of no one type
    """Tell whether a value is of a type, and within the limits with which the type is annotated."""
    origin = get_origin(hint)
    if origin is Annotated:
        return fits(value, hint.__origin__) and all(value in limit for limit in hint.__metadata__)
    if origin in {Union, UnionType}:
        return any(fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if isinstance(value, bool):
        return hint in {bool, object}
    return isinstance(value, int | float if hint is float else origin or hint)


def _limits(hint: Any) -> Iterator[object]:  # noqa: ANN401
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
    elif get_origin(hint) in {Union, UnionType}:
        for option in get_args(hint):
            yield from _limits(option)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:  # Python reads only so many digits
        raise ValueError(f"{text:.20}... is too big a number") from error


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.20} is no finite number")
    return number


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(part, levels - 1) for part in parts)
