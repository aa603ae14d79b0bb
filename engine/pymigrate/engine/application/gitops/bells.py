"""Who asks for a pass of a source: webhooks, calls and the clock. However many ask, passes of one source are one after another, and whoever
asks while one is under way waits for the next: so a burst is one pass."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Result = TypeVar("Result")


@dataclass(slots=True)
class _Bell(Generic[Result]):
    is_rung: bool = False
    next: "asyncio.Future[Result] | None" = None
    under_way: "asyncio.Future[Result] | None" = None


@dataclass(slots=True)
class Bells(Generic[Result]):
    """One for each source, by its name. `follow` is told of the first ring after each beginning."""

    _bells: dict[str, _Bell[Result]] = field(default_factory=dict)
    _followers: list[Callable[[str], None]] = field(default_factory=list)

    def follow(self, callback: Callable[[str], None]) -> None:
        """Calls back with the name when a pass is asked for that none was asked for before."""
        self._followers.append(callback)

    def ring(self, name: str) -> None:
        """Asks for a pass as soon as may be. Returns at once."""
        bell = self._bells.setdefault(name, _Bell())
        if not bell.is_rung:
            bell.is_rung = True
            for callback in self._followers:
                callback(name)

    async def next(self, name: str) -> Result:
        """Asks for a pass and waits for one that begins after this call. Raises what it raised; who is cancelled cancels nothing."""
        bell = self._bells.setdefault(name, _Bell())
        if bell.next is None:
            bell.next = asyncio.get_running_loop().create_future()
        waited = bell.next
        self.ring(name)
        return await asyncio.shield(waited)

    def is_rung(self, name: str) -> bool:
        """Whether a pass is asked for that has not begun."""
        return name in self._bells and self._bells[name].is_rung

    def is_under_way(self, name: str) -> bool:
        """Whether a pass has begun and not ended."""
        return name in self._bells and self._bells[name].under_way is not None

    def begin(self, name: str) -> None:
        """A pass begins: who asked until now gets its outcome, who asks from now on the next one's. Raises RuntimeError while one is under
        way."""
        bell = self._bells.setdefault(name, _Bell())
        if bell.under_way is not None:
            raise RuntimeError(f"a pass of {name} is under way")
        bell.under_way = bell.next or asyncio.get_running_loop().create_future()
        bell.next, bell.is_rung = None, False

    def end(self, name: str, outcome: Result | BaseException) -> None:
        """The pass has ended, well or not."""
        bell = self._bells[name]
        waited, bell.under_way = bell.under_way, None
        if waited is None or waited.done():
            return
        if isinstance(outcome, BaseException):
            waited.set_exception(outcome)
            waited.exception()  # that nobody waits for it is no fault
        else:
            waited.set_result(outcome)

    def forget(self, name: str, reason: BaseException) -> None:
        """There will be no pass any more: who waits is told why."""
        bell = self._bells.pop(name, None)
        if bell is not None and bell.next is not None and not bell.next.done():
            bell.next.set_exception(reason)
            bell.next.exception()
