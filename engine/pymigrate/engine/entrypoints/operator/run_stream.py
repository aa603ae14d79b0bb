"""What happens to runs in the engine, followed by one stream: each run that changes has its custom resource looked at again."""

import random
from collections.abc import Callable, Iterable

import structlog

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.entrypoints.operator.engine import EngineCalls
from pymigrate.engine.entrypoints.operator.objects import Key, run_id
from pymigrate.engine.entrypoints.operator.run_steering import ENDED
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import run_pb2

log = structlog.get_logger(__name__)
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 2.0
DOUBLINGS_MAX = 6


class RunStream:
    """`changed` has a resource looked at again; `back` is told whenever the engine answers again after it was away, `ended` the environment
    of each run that has ended, whoever started it: what waited for its end may go on.

    Runs are found by their ids, which follow from the uids of resources; those of others are passed over."""

    def __init__(
        self,
        engine: EngineCalls,
        clock: Clock,
        rng: random.Random,
        changed: Callable[[Key], None],
        back: Callable[[], None],
        ended: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._rng = rng
        self._changed = changed
        self._back = back
        self._ended = ended
        self._keys: dict[str, Key] = {}
        self._newest: dict[str, run_pb2.Run] = {}
        self.is_live = False

    def note(self, key: Key, uid: str) -> None:
        """A resource, and with its uid the id of its run."""
        self._keys[run_id(uid)] = key

    def forget(self, uid: str) -> None:
        """A resource that is gone."""
        self._keys.pop(run_id(uid), None)
        self._newest.pop(run_id(uid), None)

    def newest(self, uid: str) -> run_pb2.Run | None:
        """A resource's run as the stream told it last; None where it has not, or does not tell just now."""
        return self._newest.get(run_id(uid)) if self.is_live else None

    async def run(self) -> None:
        """Until it is cancelled."""
        failures = 0
        while True:
            try:
                async for answer in self._engine.watch_runs(active_only=True):
                    if not self.is_live:
                        self._begin()
                        failures = 0
                    self._hear(answer.runs)
            except PyMigrateError as error:
                if self.is_live or not failures:
                    log.info("runs.unheard", reason=error.reason, error=error.message)
            self.is_live = False
            self._newest.clear()
            seconds = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(failures, DOUBLINGS_MAX))
            failures += 1
            await self._clock.sleep(seconds * self._rng.uniform(0.5, 1.0))

    def _begin(self) -> None:
        """What ended while nobody listened is not told: each resource is looked at once."""
        log.info("runs.heard", resources=len(self._keys))
        self.is_live = True
        self._back()
        for key in list(self._keys.values()):
            self._changed(key)

    def _hear(self, runs: Iterable[run_pb2.Run]) -> None:
        for run in runs:
            if run.state in ENDED:
                self._ended(last_segment(environment_of(run.name)))
            run_segment = last_segment(run.name)
            if (key := self._keys.get(run_segment)) is not None:
                self._newest[run_segment] = run
                self._changed(key)
