"""Figures that were kept of a run as it ended, under chance: they tell the same as all of its records and events do."""

import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.dashboard_milestones import plan_milestones
from pymigrate.engine.application.dashboard_risks import plan_risks
from pymigrate.engine.application.kept_figures import kept_figures, kept_run
from pymigrate.engine.application.kpi_telling import KpiTelling
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.kpi_arrivals import WINDOW_SECONDS
from pymigrate.engine.domain.kpi_figures import (
    Figures,
    department_figures,
    environment_figures,
    phase_figures,
    run_figures,
)
from pymigrate.engine.domain.kpi_kept import KeptRun, summary_of
from pymigrate.engine.domain.kpi_outlook import NOT_FOUND_YET
from pymigrate.engine.domain.kpi_sums import EnvironmentKpis
from tests.property.test_kpis import ENVIRONMENT, SEEDS, Recorded, folded, slow

# Coverage would take longer than the properties do; what they go through its own tests measure.
pytestmark = pytest.mark.no_cover

ENDED_MIN = SEEDS // 2


def kept(run: RunKpis) -> KeptRun:
    """A run as the store gives it back of what was kept."""
    phases = summary_of(run)
    assert phases is not None
    assert run.record is not None
    found = kept_run(kept_figures(run.record, phases), run.record)
    assert found is not None
    return found


def figures(run: RunKpis, now: datetime) -> dict[str, Figures]:
    """The figures of a run, of its phases and of what sums them up."""
    environment = EnvironmentKpis(ENVIRONMENT)
    environment.add(run)
    found = {"run": run_figures(run, now), "environment": environment_figures(environment, now)}
    found |= {f"phase {phase.id}": phase_figures(run, phase, now) for phase in run.phases.values()}
    departments = environment.departments.values()
    return found | {f"department {each.name}": department_figures(each, now) for each in departments}


def picture(run: RunKpis, now: datetime) -> tuple[object, ...]:
    """What the whole picture tells of a run besides."""
    kpis = KpiTelling(lambda name: NOT_FOUND_YET, now).run(run.plan, run)
    times = {phase.id: phase.copying_times() for phase in run.phases.values()}
    downs = {phase.id: phase.ended_down_seconds() for phase in run.phases.values()}
    return plan_risks(run, kpis), plan_milestones(run, kpis, {}, {}, now), times, downs


def require_same(run: Recorded) -> bool:
    """Whether there was something to keep; it tells the same, now and ever after."""
    whole = folded([run.whole()])
    if summary_of(whole) is None:
        return False
    for later in (timedelta(seconds=WINDOW_SECONDS + 1), timedelta(days=400)):
        assert figures(kept(whole), run.now + later) == figures(whole, run.now + later)
        assert picture(kept(whole), run.now + later) == picture(whole, run.now + later)
    return True


def test_what_was_kept_of_a_run_gives_the_figures_that_all_of_it_gives() -> None:
    ended = 0
    for seed in range(SEEDS):
        run = Recorded(seed, faults=30)
        run.run()
        ended += require_same(run)
    assert ended >= ENDED_MIN


@slow
@given(st.randoms(use_true_random=False), st.integers(0, 40))
def test_what_was_kept_gives_the_same_figures_whatever_chance_is_drawn(chance: random.Random, faults: int) -> None:
    run = Recorded(chance=chance, faults=faults)
    run.run()
    require_same(run)


def test_nothing_is_kept_of_a_run_that_goes_on_or_is_not_known_whole() -> None:
    for seed in range(SEEDS):
        run = Recorded(seed)
        run.run()
        so_far = folded([])
        for time, entities, events in run.told[:-1]:
            so_far.take_in(time, entities, events)
            assert (summary_of(so_far) is None) >= so_far.is_active
        if run.aggregate.run.events:
            time, entities, events = run.whole()
            assert summary_of(folded([(time, entities, events[:-1])])) is None


def test_a_phase_is_kept_with_every_field_that_it_has() -> None:
    for seed in range(0, SEEDS, 4):
        run = Recorded(seed, faults=20)
        run.run()
        whole = folded([run.whole()])
        if summary_of(whole) is not None:
            assert {name: phase.record for name, phase in kept(whole).phases.items()} == {
                name: phase.record for name, phase in whole.phases.items()
            }
