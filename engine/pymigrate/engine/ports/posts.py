"""What is posted to a receiver outside, and what becomes of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Outcome(StrEnum):
    """What became of a message: the receiver has it; will never have it; failed with this one; or is away, for whatever is posted."""

    SENT = "sent"
    REFUSED = "refused"
    FAILED = "failed"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Message:
    """A body and what it is."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Posted:
    """An outcome, what was said with it, and how long the receiver asks not to be asked again."""

    outcome: Outcome
    said: str = ""
    retry_after_seconds: float = 0.0


class Posts(Protocol):
    """A receiver."""

    async def post(self, message: Message) -> Posted:
        """Posts once. It never raises, and has a time limit of its own."""
        ...

    async def close(self) -> None:
        """Ends what is open."""
        ...
