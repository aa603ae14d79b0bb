"""KPIs as they change: a subject's as they are, then again whenever something in its environment has changed them."""

import asyncio
from collections.abc import AsyncIterator

from pymigrate.engine.application.kpi_subjects import SubjectKind, subject_of
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.run_states import RUN_ENDED
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import kpi_pb2, run_pb2

INTERVAL_SECONDS = 0.1
_OF_ONE_RUN = frozenset({SubjectKind.RUN, SubjectKind.RUN_PHASE, SubjectKind.RUN_LANE})
_ENDED = frozenset(run_pb2.RunState.Value(f"RUN_STATE_{state.name}") for state in RUN_ENDED)


class KpiWatching:
    """Who watches KPIs. `start` tells this engine's tokens from those of another."""

    def __init__(self, kpis: FleetKpis, clock: Clock, start: str) -> None:
        self._kpis = kpis
        self._clock = clock
        self._start = start
        self._changes = 0
        self._changed: dict[str, int] = {}
        self._woken = asyncio.Event()
        kpis.on_change(self._change)

    def _change(self, run: str) -> None:
        self._changes += 1
        self._changed[environment_of(run)] = self._changes
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()

    async def watch(
        self, name: str, includes_parts: bool, resume_token: str
    ) -> AsyncIterator[kpi_pb2.WatchKpisResponse]:
        """The KPIs as they are and as they change, at most ten times a second; those of a run end with it. Raises NotFound."""
        subject = subject_of(name)
        seen, is_resync = self._read(resume_token)
        while True:
            while seen >= self._changed.get(subject.environment, 0) and seen >= 0:
                await self._woken.wait()
            seen = self._changes
            found = await self._kpis.kpis(name, includes_parts)
            yield kpi_pb2.WatchKpisResponse(kpis=found, resume_token=f"{self._start}.{seen}", is_resync=is_resync)
            is_resync = False
            if subject.kind in _OF_ONE_RUN and found.state in _ENDED:
                return
            await self._clock.sleep(INTERVAL_SECONDS)

    def _read(self, token: str) -> tuple[int, bool]:
        """The number that was seen last, -1 for none; and whether it is not known here what has been since."""
        start, _, number = token.rpartition(".")
        if start == self._start and number.isdecimal() and int(number) <= self._changes:
            return int(number), False
        return -1, bool(token)
