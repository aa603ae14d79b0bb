"""What may be asked of a task while it works: to stop at its next checkpoint, or to stop at once because it is no longer the host's."""

from typing import Protocol

from pymigrate.engine.domain.errors import FenceLost
from pymigrate.engine.domain.rates import Rate


class Signals(Protocol):
    """What is asked of one task. Every answer may change at any time; none but the rate changes back."""

    def is_draining(self) -> bool:
        """Whether the task should end at its next checkpoint."""
        ...

    def is_lost(self) -> bool:
        """Whether the lease is gone or has run out: nothing may be committed any more."""
        ...

    def wait(self, seconds: float) -> None:
        """Waits so long, or until something is asked."""
        ...

    def rate(self) -> Rate:
        """How fast a lane may go."""
        ...


class LeaseLost(FenceLost):
    """The task is no longer this host's. It stops without committing, and nobody waits for its outcome."""


class Drained(Exception):
    """The task ended early because it was asked to. Nothing is half done."""


def check(signals: Signals, *, is_draining_heeded: bool = True) -> None:
    """Raises LeaseLost or Drained when the task should stop here."""
    if signals.is_lost():
        raise LeaseLost("the lease is lost, or ran out without a heartbeat: nothing more is committed")
    if is_draining_heeded and signals.is_draining():
        raise Drained
