"""The figures of plans' newest runs and of what sums them up, in memory, folded from the stream of changes."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.verdicts import verdict_of
from pymigrate.engine.domain.kpi import PhaseDifference, RunKpis
from pymigrate.engine.domain.kpi_outlook import NOT_FOUND_YET, RunOutlook
from pymigrate.engine.domain.kpi_sums import EnvironmentKpis
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.run import Run
from pymigrate.engine.domain.run_keys import is_given_up
from pymigrate.engine.ports.clock import Clock

OTHERS_KEPT_MAX = 64


class FleetFold:
    """The newest run of every plan, whichever others were looked at last, and the sums over the newest ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[str, RunKpis] = {}
        self._ended: dict[str, None] = {}
        self._outlooks: dict[str, RunOutlook] = {}
        self._environments: dict[str, EnvironmentKpis] = {}
        self._renewed: set[str] = set()
        self._declared: set[str] | None = None
        self._looked: datetime = clock.now()
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
        """Takes in a change. One that went on after its figures were kept is counted anew, and counts once it is known whole."""
        run = self._runs.get(change.run)
        if run is not None and not run.has_lanes:
            if change.is_whole and _version(change) == (run.record.version if run.record else 0):
                return run  # what was kept says all of that
            run = self._renew(run.name)
        if run is None:
            run = self._runs[change.run] = RunKpis(change.run, verdict_of)
        self._place(run, run.take_in(change.time, change.entities, change.events))
        self._note_end(run)
        self._tell(run.name)
        return run

    def put_kept(self, run: RunKpis) -> None:
        """Takes in a run as it was kept, unless it is known already."""
        if run.name not in self._runs:
            self._runs[run.name] = run
            self._place(run, {})
            self._note_end(run)
            self._tell(run.name)

    def leave_out(self, plans: Iterable[str], *, is_declared: bool = False) -> None:
        """Counts runs of these plans no longer: they are not declared any more, or `is_declared`: their newest runs were given up."""
        plans = set(plans)
        if self._declared is not None and not is_declared:
            self._declared -= plans
        for plan in plans:
            environment, run = self._environments.get(environment_of(plan)), self.newest(plan)
            if environment is None or run is None:
                continue
            environment.remove(run)
            if not environment.runs:
                del self._environments[environment.name]
            self._tell(run.name)

    def hold_to(self, declared: set[str], looked: datetime) -> set[str]:
        """Notes which plans were declared at a moment; those that were not when it was noted before, and have no run that counts."""
        before, self._declared, self._looked = self._declared, declared, looked
        return set() if before is None else declared - before - self.counted()

    def counted(self) -> set[str]:
        """The plans whose newest runs are summed up."""
        return {plan for environment in self._environments.values() for plan in environment.runs}

    def _renew(self, name: str) -> RunKpis:
        """Begins to count a run anew. What was kept of it stays in the sums until all of it is known again."""
        run = self._runs[name] = RunKpis(name, verdict_of)
        self._renewed.add(name)
        return run

    def _place(self, run: RunKpis, changes: dict[str, PhaseDifference]) -> None:
        """Counts a change where the run is its plan's newest; one that has become so comes in place of the one before."""
        if run.record is None or run.name in self._renewed:
            return
        name = environment_of(run.name)
        environment = self._environments.get(name)
        known = environment.runs.get(run.plan) if environment else None
        if is_given_up(run.record):
            if environment is not None and known is run:
                self.leave_out([run.plan], is_declared=True)
            return
        if environment is not None and known is run:
            environment.put(run, changes)
        elif known is None and not self._may_count(run.plan, run.record.create_time):
            return
        elif known is None or known.record is None or known.name == run.name or _age(run) > _age(known):
            if environment is None:
                environment = self._environments[name] = EnvironmentKpis(name)
            environment.add(run)

    def _may_count(self, plan: str, create_time: datetime) -> bool:
        """Whether a plan is declared, as far as is known: nobody runs one that is not, so one with a newer run is declared since."""
        return self._declared is None or plan in self._declared or create_time > self._looked

    def _tell(self, run: str) -> None:
        for callback in self._on_change:
            callback(run)

    def _note_end(self, run: RunKpis) -> None:
        """Of runs that neither go on nor are their plan's newest only so many are kept. Only those that have ended are gone through:
        a thousand that begin at once would each go through all others."""
        if run.is_active:
            self._ended.pop(run.name, None)
            return
        if run.name in self._ended:
            return
        self._ended[run.name] = None
        others = [
            name
            for name in self._ended
            if name not in self._renewed and (known := self._runs[name]) is not self.newest(known.plan)
        ]
        for name in others[: max(0, len(others) - OTHERS_KEPT_MAX)]:
            del self._runs[name], self._ended[name]
            self._outlooks.pop(name, None)


def _version(change: Change) -> int:
    return next((entity.version for entity in change.entities if isinstance(entity, Run)), 0)


def _age(run: RunKpis) -> tuple[datetime, str]:
    if run.record is None:
        raise ValueError(f"{run.name} is not known yet")
    return run.record.create_time, run.name
