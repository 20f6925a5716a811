"""The JSON objects in which answers come: those of the REST API, and those of the control interface."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


def camel_case(name: str) -> str:
    """Spell a key as older servers do: `error_code` as `errorCode`."""
    first, *others = name.split("_")
    return first + "".join(other[:1].upper() + other[1:] for other in others)


class PlainJSON(JSONResponse):
    """An answer of the control interface. In ASCII, since names in it may be anybody's, and it is read in terminals."""

    def render(self, content: object) -> bytes:
        """Return the answer's body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class Envelope(JSONResponse):
    """An answer of the REST API."""

    media_type = "application/json;charset=UTF-8"

    def __init__(
        self,
        *,
        id: int = -1,  # noqa: A002 - the field's name
        state: str = "COMPLETE",
        error_code: int = 0,
        error_description: str = "",
        total_progress: int = 0,
        res_obj: object = None,
        old_spelling: bool = False,
        **more: Any,  # noqa: ANN401
    ) -> None:
        content = {
            "id": id,
            "state": state,
            "error_code": error_code,
            "error_description": error_description,
            "total_progress": total_progress,
            "res_obj": res_obj,
            **more,
        }
        if old_spelling:
            content = {camel_case(name): value for name, value in content.items()}
        super().__init__(content)
