"""What the doctor finds."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and how to mend it."""

    name: str
    status: Status
    detail: str
    remedy: str = ""
