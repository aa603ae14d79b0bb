"""The fleet's series, read from the KPIs in memory at each scrape: plans, and the phases and lanes of runs that are under way.

Whatever is read here is a figure that the KPIs have already; nothing is folded, forecast or asked of the store for a scrape.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from pymigrate.engine.application.fleet_counters import FleetCounters
from pymigrate.engine.application.kpi_telling import KpiTelling
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.kpi_arrivals import NOW_SECONDS
from pymigrate.engine.domain.kpi_outlook import NOT_FOUND_YET, UNKNOWN, Outlook, RunOutlook
from pymigrate.engine.domain.kpi_phase import PhaseKpis
from pymigrate.engine.domain.kpi_tally import BYTES, LANES, ROWS, Tally, completion
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.run_states import LaneState, RunState
from pymigrate.engine.ports import metric_families as families
from pymigrate.engine.ports.business_metrics import PlanFigures
from pymigrate.engine.ports.metrics import Family, Labels, Metrics, Reading

PLANS_READ_MAX = 2 * families.PLANS_MAX
COLLECTOR = "fleet"

Value = tuple[Labels, float]
Plan = tuple[Labels, RunKpis]
Phase = tuple[Labels, PhaseKpis]


class FleetMetrics:
    """A collector. `is_owner`: whether this engine is the one that tells the fleet's values, so that of several only one does."""

    def __init__(self, kpis: FleetKpis, counters: FleetCounters, is_owner: Callable[[], bool] = lambda: True) -> None:
        self._kpis = kpis
        self._counters = counters
        self._is_owner = is_owner
        self._labels: dict[str, Labels] = {}
        self._ended: dict[str, tuple[RunOutlook, int, Outlook]] = {}

    def tell(self, metrics: Metrics) -> None:
        """Is read at each scrape from now on."""
        metrics.collect(COLLECTOR, self.read)

    def read(self) -> Iterator[Reading]:
        """Everything as it is now."""
        self._counters.forget_idle(self._kpis.now())
        if not self._is_owner():
            return
        runs = list(islice(self._kpis.current(), PLANS_READ_MAX))
        labels = self._labels
        self._labels = {run.plan: labels.get(run.plan) or _plan_labels(run.plan) for run in runs}
        if len(self._ended) > len(runs):
            self._ended = {plan: kept for plan, kept in self._ended.items() if plan in self._labels}
        plans = [(self._labels[run.plan], run) for run in runs]
        active = [(plan, run) for plan, run in plans if run.is_active]
        yield _behind(plans, self._kpis.behind())
        yield from _states(plans, active)
        yield from self._of_plans(plans)
        phases = [
            ((*plan, phase.id, phase.record.department), phase)
            for plan, run in active
            for phase in list(run.phases.values())
            if phase.record is not None
        ]
        yield from self._of_phases(phases)
        outlooks = [(plan, self._kpis.outlook(run.name)) for plan, run in active]
        yield Reading(families.PHASE_DOWNTIME_BUDGET, list(_budgets(outlooks, phases)))

    def figures(self) -> list[PlanFigures]:
        """Where every plan stands, as plugins are told."""
        return [
            PlanFigures(*_plan_labels(run.plan), run.record.state, *_sizes(run.tally), completion(run.tally))
            for run in islice(self._kpis.current(), PLANS_READ_MAX)
            if run.record is not None
        ]

    def _of_plans(self, plans: list[Plan]) -> Iterator[Reading]:
        yield Reading(families.PLAN_COMPLETION, ((labels, completion(run.tally)) for labels, run in plans))
        yield _tallied(families.PLAN_ROWS, ROWS, plans)
        yield _tallied(families.PLAN_BYTES, BYTES, plans)
        yield Reading(
            families.PLAN_STATE, (((*labels, run.record.state), 1.0) for labels, run in plans if run.record is not None)
        )
        expected = [(labels, run, self._expected(run)) for labels, run in plans]
        yield Reading(families.PLAN_END, _ends(expected))
        levels = ((labels, int(outlook.level)) for labels, _, outlook in expected)
        yield Reading(families.PLAN_SLA_RISK, ((labels, level) for labels, level in levels if level))
        drifts = ((labels, outlook.drift) for labels, _, outlook in expected)
        yield Reading(families.PLAN_DRIFT, ((labels, drift) for labels, drift in drifts if drift is not None))

    def _expected(self, run: RunKpis) -> Outlook:
        """What is expected of a run; of one that has ended it is found once, since only what is under way uses up what was agreed."""
        outlook = self._kpis.outlook(run.name)
        if outlook is NOT_FOUND_YET:
            return outlook.whole
        if run.is_active:
            return KpiTelling(self._kpis.outlook, self._kpis.now()).expected_of_run(run)
        version = run.record.version if run.record is not None else 0
        kept = self._ended.get(run.plan)
        if kept is None or kept[0] is not outlook or kept[1] != version:
            found = KpiTelling(self._kpis.outlook, self._kpis.now()).expected_of_run(run)
            kept = self._ended[run.plan] = (outlook, version, found)
        return kept[2]

    def _of_phases(self, phases: list[Phase]) -> Iterator[Reading]:
        now = self._kpis.now()
        yield Reading(families.PHASE_COMPLETION, ((labels, completion(phase.tally)) for labels, phase in phases))
        yield _tallied(families.PHASE_ROWS, ROWS, phases)
        yield _tallied(families.PHASE_BYTES, BYTES, phases)
        rates = [(labels, phase.arrivals.rate(now, NOW_SECONDS)) for labels, phase in phases]
        yield Reading(families.PHASE_ROWS_PER_SECOND, [(labels, rate.rows_per_second) for labels, rate in rates])
        yield Reading(families.PHASE_BYTES_PER_SECOND, [(labels, rate.bytes_per_second) for labels, rate in rates])
        lags = ((labels, phase.lag_seconds()) for labels, phase in phases)
        yield Reading(families.PHASE_LAG, ((labels, lag) for labels, lag in lags if lag >= 0))
        downtimes = ((labels, phase.down_spans(now)) for labels, phase in phases if _can_be_down(phase))
        yield Reading(
            families.PHASE_DOWNTIME, ((labels, sum(end - start for start, end in spans)) for labels, spans in downtimes)
        )


def _states(plans: Iterable[Plan], active: Iterable[Plan]) -> Iterator[Reading]:
    """How many runs and lanes there are of each state in each environment, and how many gates wait there; where there are none, 0."""
    runs: Counter[Labels] = Counter()
    lanes: Counter[Labels] = Counter()
    gates: Counter[str] = Counter()
    environments = sorted({environment for (environment, _), _ in plans})
    for (environment, _), run in plans:
        if run.record is not None:
            runs[environment, run.record.state] += 1
    for (environment, _), run in active:
        gates[environment] += sum(1 for _ in run.waiting_gates())
        for state, name in LANES.items():
            lanes[environment, state] += run.tally.get(name, 0)
    yield Reading(families.RUNS, _by_state(environments, RunState, runs))
    yield Reading(families.LANES, _by_state(environments, LaneState, lanes))
    yield Reading(families.GATES_WAITING, [((name,), gates[name]) for name in environments])


def _behind(plans: Iterable[Plan], behind: Iterable[str]) -> Reading:
    counts = Counter({environment: 0 for (environment, _), _ in plans})
    counts.update(last_segment(environment_of(run)) for run in behind)
    return Reading(families.KPIS_BEHIND, [((environment,), count) for environment, count in sorted(counts.items())])


def _by_state(environments: Iterable[str], states: Iterable[str], counts: Mapping[Labels, int]) -> list[Value]:
    return [((name, str(state)), counts.get((name, state), 0)) for name in environments for state in states]


def _tallied(
    family: Family, name: str, subjects: "Iterable[tuple[Labels, RunKpis]] | Iterable[tuple[Labels, PhaseKpis]]"
) -> Reading:
    return Reading(family, ((labels, _count(subject.tally, name)) for labels, subject in subjects))


def _count(tally: Tally, name: str) -> float:
    return tally.get(name, 0)


def _sizes(tally: Tally) -> tuple[int, int]:
    return tally.get(ROWS, 0), tally.get(BYTES, 0)


def _ends(plans: Iterable[tuple[Labels, RunKpis, Outlook]]) -> Iterator[Value]:
    for labels, run, outlook in plans:
        if run.is_active and outlook.end is not None:
            yield labels, outlook.end.p50.timestamp()
        elif run.record is not None and run.record.end_time is not None and not run.is_active:
            yield labels, run.record.end_time.timestamp()


def _budgets(outlooks: Iterable[tuple[Labels, RunOutlook]], phases: Iterable[Phase]) -> Iterator[Value]:
    """What was agreed of phases, where anything was."""
    expected = {plan: outlook.phases for plan, outlook in outlooks}
    for labels, phase in phases:
        budget_seconds = expected[labels[:2]].get(phase.id, UNKNOWN).budget_seconds
        if budget_seconds >= 0:
            yield labels, budget_seconds


def _can_be_down(phase: PhaseKpis) -> bool:
    return phase.record is not None and not phase.record.is_live and not phase.record.is_online


def _plan_labels(plan: str) -> tuple[str, str]:
    return last_segment(environment_of(plan)), last_segment(plan)
