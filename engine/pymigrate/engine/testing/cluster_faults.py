"""Faults of an API in memory: what happens before a call, so that it is not done, or after it, so that nobody knows that it was."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import Object, ResourceType

WRITES = frozenset({"create", "replace", "patch", "delete"})


@dataclass(frozen=True, slots=True)
class ClusterCall:
    """What was asked: `verb` is the port's method, `body` what was to be written."""

    verb: str
    kind: ResourceType
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    body: Object | None = None
    is_dry_run: bool = False

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.verb in WRITES and not self.is_dry_run


Hook = Callable[[ClusterCall], Awaitable[None]]


@dataclass(slots=True)
class _Rule:
    matches: Callable[[ClusterCall], bool]
    error: Callable[[], PyMigrateError] | None
    seconds: float
    skip: int
    left: int


class ClusterFaults:
    """Hooks and rules. A hook may raise or wait; rules come after the hooks, in the order in which they were made."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.before: list[Hook] = []
        self.after: list[Hook] = []
        self._rules: dict[bool, list[_Rule]] = {False: [], True: []}

    def fail(
        self,
        error: Callable[[], PyMigrateError],
        *,
        verb: str = "",
        kind: ResourceType | None = None,
        name: str = "",
        subresource: str | None = None,
        skip: int = 0,
        times: int = 1,
        is_after: bool = False,
    ) -> None:
        """Raises a new error at so many calls of these, after letting some pass; with `is_after` once the call was done."""
        self._rules[is_after].append(_Rule(_matching(verb, kind, name, subresource), error, 0.0, skip, times))

    def delay(
        self,
        seconds: float,
        *,
        verb: str = "",
        kind: ResourceType | None = None,
        name: str = "",
        subresource: str | None = None,
        skip: int = 0,
        times: int = 1,
        is_after: bool = False,
    ) -> None:
        """Lets so many of these calls take longer."""
        self._rules[is_after].append(_Rule(_matching(verb, kind, name, subresource), None, seconds, skip, times))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self.before.clear()
        self.after.clear()
        for rules in self._rules.values():
            rules.clear()

    async def happen(self, call: ClusterCall, *, is_after: bool) -> None:
        """Lets everybody else go first, as a call over the wire does, and then goes wrong where it shall."""
        await asyncio.sleep(0)
        for hook in list(self.after if is_after else self.before):
            await hook(call)
        for rule in list(self._rules[is_after]):
            if not rule.left or not rule.matches(call):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            rule.left -= 1
            if rule.error is not None:
                raise rule.error()
            await self._clock.sleep(rule.seconds)


def _matching(
    verb: str, kind: ResourceType | None, name: str, subresource: str | None
) -> Callable[[ClusterCall], bool]:
    def matches(call: ClusterCall) -> bool:
        return (
            (not verb or call.verb == verb)
            and (kind is None or call.kind == kind)
            and (not name or call.name == name)
            and (subresource is None or call.subresource == subresource)
        )

    return matches
