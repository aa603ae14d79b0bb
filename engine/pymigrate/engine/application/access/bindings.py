"""The role bindings that hold, in memory: read at the start and every few seconds, since other engines write them too, and at once after a
write of this engine's own."""

import asyncio
from collections.abc import Sequence

import structlog

from pymigrate.engine.application.access.authorizer import own_grants
from pymigrate.engine.application.access.role_bindings import BINDINGS_MAX, COLLECTION, ROLE_BINDINGS, ROLES, grant_of
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.access import Grant, is_member
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit

log = structlog.get_logger(__name__)
REFRESH_SECONDS = 2.0

_States = Sequence[tuple[str, str, int]]
_Held = tuple[tuple[tuple[str, ...], Grant], ...]


class Bindings:
    """What callers may do. `refresh` before anything is served: until then only who needs no binding may do anything."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._states: _States = ()
        self._held: _Held = ()
        self._reading = asyncio.Lock()

    def grants_of(self, caller: Caller) -> Sequence[Grant]:
        """The roles of a caller, those first that its credential gives it."""
        own = own_grants(caller)
        bound = (grant for members, grant in self._held if any(_is(member, caller) for member in members))
        return (*own, *bound)

    async def refresh(self) -> None:
        """Takes over what is stored now. Raises StoreUnavailable, and what held before goes on. One at a time: what an earlier look found
        must not take the place of what a later one did."""
        async with self._reading:
            found = await self._store.read(self._read)
            if found is not None:
                self._states, self._held = found

    async def run_loop(self) -> None:
        """Follows what other engines write, until it is cancelled."""
        while True:
            await self._clock.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except PyMigrateError as error:
                log.warning("bindings.not_refreshed", error=error.message)

    def _read(self, unit: Unit) -> tuple[_States, _Held] | None:
        """None where nothing has changed."""
        states = unit.resources.states(COLLECTION, "")
        if states == self._states:
            return None
        stored = unit.resources.list(COLLECTION, "", "", BINDINGS_MAX)
        bindings = [ROLE_BINDINGS.read(each) for each in stored]
        # A role that a later version knows gives nothing here.
        return states, tuple((tuple(each.members), grant_of(each)) for each in bindings if each.role in ROLES)


def _is(member: str, caller: Caller) -> bool:
    return is_member(member, caller.principal, caller.groups)
