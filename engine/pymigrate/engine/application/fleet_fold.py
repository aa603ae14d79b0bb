"""The figures of plans' newest runs and of what sums them up, in memory, folded from the stream of changes."""

from collections.abc import Callable, Iterator
from datetime import datetime

from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.verdicts import verdict_of
from pymigrate.engine.domain.kpi import PhaseDifference, RunKpis
from pymigrate.engine.domain.kpi_outlook import NOT_FOUND_YET, RunOutlook
from pymigrate.engine.domain.kpi_sums import EnvironmentKpis
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.ports.clock import Clock

OTHERS_KEPT_MAX = 64


class FleetFold:
    """The newest run of every plan, whichever others were looked at last, and the sums over the newest ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[str, RunKpis] = {}
        self._outlooks: dict[str, RunOutlook] = {}
        self._environments: dict[str, EnvironmentKpis] = {}
        self._on_change: list[Callable[[str], None]] = []

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Calls back with the run's name whenever figures of it have changed."""
        self._on_change.append(callback)

    def now(self) -> datetime:
        """The moment that figures are told for: rates and downtimes go on while nothing happens."""
        return self._clock.now()

    def current(self) -> Iterator[RunKpis]:
        """The newest run of every plan that has one, ordered by the plan's name. See `kpi_figures` for what can be told of each."""
        for environment in sorted(self._environments):
            runs = self._environments[environment].runs
            yield from (runs[plan] for plan in sorted(runs))

    def environments(self) -> Iterator[EnvironmentKpis]:
        """The sums over every environment's newest runs, ordered by name."""
        yield from (self._environments[name] for name in sorted(self._environments))

    def run(self, name: str) -> RunKpis | None:
        """A run that is in memory: a plan's newest one, and whichever were looked at last."""
        return self._runs.get(name)

    def newest(self, plan: str) -> RunKpis | None:
        """The newest run of a plan."""
        environment = self._environments.get(environment_of(plan))
        return environment.runs.get(plan) if environment else None

    def outlook(self, run: str) -> RunOutlook:
        """What is expected of a run, as it was found last."""
        return self._outlooks.get(run, NOT_FOUND_YET)

    def put_outlook(self, run: str, outlook: RunOutlook) -> None:
        """What is expected of a run from now on."""
        if run in self._runs:
            self._outlooks[run] = outlook
            self._tell(run)

    def observe(self, change: Change) -> RunKpis:
        """Takes in a change."""
        run = self._runs.get(change.run)
        if run is None:
            run = self._runs[change.run] = RunKpis(change.run, verdict_of)
            self._forget_others()
        self._place(run, run.take_in(change.time, change.entities, change.events))
        self._tell(run.name)
        return run

    def _place(self, run: RunKpis, changes: dict[str, PhaseDifference]) -> None:
        """Counts a change where the run is its plan's newest; one that has become so comes in place of the one before."""
        if run.record is None:
            return
        name = environment_of(run.name)
        environment = self._environments.get(name)
        known = environment.runs.get(run.plan) if environment else None
        if environment is not None and known is run:
            environment.put(run, changes)
        elif known is None or known.record is None or _age(run) > _age(known):
            if environment is None:
                environment = self._environments[name] = EnvironmentKpis(name)
            environment.add(run)

    def _tell(self, run: str) -> None:
        for callback in self._on_change:
            callback(run)

    def _forget_others(self) -> None:
        """Of runs that neither go on nor are their plan's newest only so many are kept."""
        others = [name for name, run in self._runs.items() if not run.is_active and self.newest(run.plan) is not run]
        for name in others[: max(0, len(others) - OTHERS_KEPT_MAX)]:
            del self._runs[name]
            self._outlooks.pop(name, None)


def _age(run: RunKpis) -> tuple[datetime, str]:
    if run.record is None:
        raise ValueError(f"{run.name} is not known yet")
    return run.record.create_time, run.name
