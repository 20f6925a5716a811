"""What numbers and texts from outside may be: more than their type says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Between:
    """Numbers from one to another, both included; NaN is none of them."""

    least: float
    most: float

    def __contains__(self, number: float) -> bool:
        return self.least <= number <= self.most

    def __str__(self) -> str:
        return f"a number from {self.least} to {self.most}"


class HeaderText:
    """Texts that a header can carry."""

    def __contains__(self, text: str) -> bool:
        return re.fullmatch(r"(?! )[\x20-\x7e\xa0-\xff]*(?<! )", text) is not None

    def __str__(self) -> str:
        return "a text that a header can carry"


# Some thirty years: no sum of some of them leaves the calendar.
Seconds = Annotated[float, Between(0, 10**9)]
Share = Annotated[float, Between(0, 1)]
Times = Annotated[int, Between(1, 100_000)]
Megabytes = Annotated[int, Between(1, 1_000_000)]
StatusCode = Annotated[int, Between(200, 599)]
ErrorCode = Annotated[int, Between(-(2**63), 2**63 - 1)]
HeaderValue = Annotated[str, HeaderText()]
