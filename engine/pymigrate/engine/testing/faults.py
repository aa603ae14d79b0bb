"""Faults on demand: the nth call of a named step fails, before or after it took effect, or something else happens there."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pymigrate.engine.domain.errors import SystemUnavailable


class Crash(BaseException):
    """The process ends here: no handler of an ordinary error sees it."""


@dataclass
class Faults:
    """What goes wrong, planned by a test. Steps are counted from 1, over everything that shares the object."""

    _planned: dict[tuple[str, int, bool], Callable[[], None]] = field(default_factory=dict)
    _seen: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, step: str, nth: int, action: Callable[[], None], *, is_after: bool = False) -> None:
        """Does something at the nth call of a step, before or after it takes effect; raising is one thing to do."""
        self._planned[step, self._seen[step] + nth, is_after] = action

    def fail(self, step: str, nth: int = 1, *, is_after: bool = False, error: BaseException | None = None) -> None:
        """Lets the nth call from now fail, as a system that is away unless told otherwise."""

        def act() -> None:
            raise error if error is not None else SystemUnavailable(f"planned at {step}")

        self.at(step, nth, act, is_after=is_after)

    def before(self, step: str) -> int:
        """A step begins; returns its number."""
        with self._lock:
            self._seen[step] += 1
            number = self._seen[step]
        self._act(step, number, is_after=False)
        return number

    def after(self, step: str, number: int) -> None:
        """The step has taken effect."""
        self._act(step, number, is_after=True)

    def seen(self, step: str) -> int:
        """How often the step has begun."""
        return self._seen[step]

    def _act(self, step: str, number: int, *, is_after: bool) -> None:
        with self._lock:
            action = self._planned.pop((step, number, is_after), None)
        if action is not None:
            action()
