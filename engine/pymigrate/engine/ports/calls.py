"""What is called outside databases: one request, one answer, and a key by which the other side knows a repeated one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pymigrate.engine.ports.secrets import Secret


@dataclass(frozen=True, slots=True)
class OutsideCall:
    """A request. `timeout_seconds` bounds it as a whole; header values that are secrets are read already."""

    method: str
    url: str
    key: str
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    body: str = ""
    timeout_seconds: float = 30.0


class Calls(Protocol):
    """Something that can be called."""

    def call(self, call: OutsideCall) -> None:
        """Returns when the other side has done it. Raises StepRefused when it says no, and StepUnavailable when it does not answer,
        or answers that it can't just now: whether it was done is then not known."""
        ...
