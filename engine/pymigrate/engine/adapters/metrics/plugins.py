"""Business metrics of plugins on the page: each asked in the background while somebody scrapes, so that no scrape waits for one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple

import orjson
import structlog

from pymigrate.engine.adapters.metrics.plugin_process import PluginFailedError, PluginProcess
from pymigrate.engine.adapters.metrics.plugin_rules import PluginRules, refuse_name
from pymigrate.engine.ports.business_metrics import PlanFigures
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.metric_families import COLLECTOR_FAILURES
from pymigrate.engine.ports.metrics import Metrics, Reading

log = structlog.get_logger(__name__)
INTERVAL_SECONDS = 10.0
FRESH_SECONDS_MAX = 120.0
WAIT_SECONDS_MAX = 600.0
DOUBLINGS_MAX = 6
PLANS_MAX = 4_000


class PluginCollector:
    """One plugin: `run` asks its process, and `read`, a collector, tells what it said last."""

    def __init__(
        self,
        name: str,
        process: PluginProcess,
        metrics: Metrics,
        clock: Clock,
        plans: Callable[[], Sequence[PlanFigures]],
    ) -> None:
        self.name = name
        self.collector = f"plugin:{name}"
        self._process = process
        self._metrics = metrics
        self._clock = clock
        self._plans = plans
        self._rules = PluginRules(name)
        self._readings: list[Reading] = []
        self._read_at = self._told_at = clock.monotonic()
        self._failures = 0
        self._said = ""
        metrics.collect(self.collector, self.read)

    def read(self) -> Iterator[Reading]:
        """What it said last, unless that is too long ago."""
        self._read_at = self._clock.monotonic()
        if self._read_at - self._told_at <= FRESH_SECONDS_MAX:
            yield from self._readings

    async def run(self) -> None:
        """Asks it again and again, as long as somebody scrapes, until it is cancelled. After failures it is asked less often."""
        try:
            if reason := refuse_name(self.name):
                self._fail(reason)
                return
            while True:
                if self._clock.monotonic() - self._read_at <= FRESH_SECONDS_MAX:
                    await self.ask()
                await self._clock.sleep(
                    min(WAIT_SECONDS_MAX, INTERVAL_SECONDS * 2 ** min(self._failures, DOUBLINGS_MAX))
                )
        finally:
            await self._process.close()

    async def ask(self) -> None:
        """Asks it once. What goes wrong is counted, and takes its series off the page."""
        plans = [astuple(plan) for plan in self._plans()[:PLANS_MAX]]
        try:
            answer = await self._process.ask(orjson.dumps(plans))
            self._readings, problems = self._rules.read(answer)
        except (PluginFailedError, ValueError, OSError) as error:
            self._readings = []
            self._failures += 1
            self._fail(str(error))
            return
        self._told_at = self._clock.monotonic()
        self._failures = 0
        if problems:
            self._fail("; ".join(problems))
        else:
            self._said = ""

    def _fail(self, reason: str) -> None:
        self._metrics.add(COLLECTOR_FAILURES, (self.collector,))
        if reason != self._said:
            self._said = reason
            log.warning("plugin.failed", plugin=self.name, reason=reason)
