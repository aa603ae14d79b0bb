"""The figures of a run under chance: in whatever order its changes are told, and however often, the same figures come; and the same from
what is stored of it in the end."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymigrate.engine.domain.kpi import PhaseDifference, RunKpis
from pymigrate.engine.domain.kpi_arrivals import STILL, WINDOW_SECONDS
from pymigrate.engine.domain.kpi_figures import (
    Figures,
    department_figures,
    environment_figures,
    lane_figures,
    phase_figures,
    run_figures,
)
from pymigrate.engine.domain.kpi_phase import Verdict, VerdictOf
from pymigrate.engine.domain.kpi_sums import EnvironmentKpis
from pymigrate.engine.domain.run import DatasetRun, Entity, Lane, RunEvent, copied
from tests.property.simulated_runs import PLAN, Simulation

# Coverage would take longer than the properties do; what they go through its own tests measure.
pytestmark = pytest.mark.no_cover

SEEDS = 32
ENVIRONMENT = "environments/e"
Told = tuple[datetime, list[Entity], list[RunEvent]]
slow = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
)


def verdict_of(body: bytes) -> Verdict:
    """Every verification that found something agrees, and had to mend a row."""
    return Verdict("verified", len(body), 1)


def marked(entity: Entity) -> Entity:
    """A record as it is stored, with the counts that hosts by chance do not bring."""
    found = copied(entity)
    if isinstance(found, Lane):
        found.quarantined_rows = found.rows // 2
    if isinstance(found, DatasetRun):
        found.conflicts = found.version
    return found


@dataclass
class Recorded(Simulation):
    """A run of which every change is kept, each record with the version that a store gives it."""

    told: list[Told] = field(default_factory=list)

    def store(self, entities: list[Entity], events: list[RunEvent]) -> None:
        """Keeps what has changed; the first time everything, as when a run begins."""
        changed = entities if self.told else list(self.aggregate.entities())
        super().store(changed, events)
        self.told.append((self.now, [marked(entity) for entity in changed], list(events)))

    def whole(self) -> Told:
        """What a store has of it in the end."""
        return (
            self.now,
            [marked(entity) for entity in self.aggregate.entities()],
            [event for _, _, events in self.told for event in events],
        )


def folded(told: Iterable[Told], fold: type[RunKpis] = RunKpis) -> RunKpis:
    """The figures of a run after these changes."""
    found = fold(f"{PLAN}/runs/r", verdict_of)
    for time, entities, events in told:
        found.take_in(time, entities, events)
    return found


class CountsAgain(RunKpis):
    """A wrong fold: counts an event again when it is told again."""

    def take_in(
        self, time: datetime, entities: Iterable[Entity], events: Iterable[RunEvent] = ()
    ) -> dict[str, PhaseDifference]:
        """Forgets which events it has seen."""
        found = super().take_in(time, entities, events)
        self._events_seen, self._events_ahead = 0, set()
        return found


class LastTold(RunKpis):
    """A wrong fold: what is told last replaces what was told before, whatever its version."""

    def __init__(self, name: str, verdict_of: VerdictOf) -> None:
        super().__init__(name, verdict_of)
        self._told = 0

    def take_in(
        self, time: datetime, entities: Iterable[Entity], events: Iterable[RunEvent] = ()
    ) -> dict[str, PhaseDifference]:
        """Gives every record a version above all before."""
        renewed = []
        for entity in entities:
            self._told += 1
            renewed.append(copied(entity))
            renewed[-1].version = self._told
        return super().take_in(time, renewed, events)


def differs(fold: type[RunKpis]) -> set[str]:
    """Which figures a fold finds otherwise once changes come in another order and again, over all seeds."""
    found: set[str] = set()
    for seed in range(SEEDS):
        run = Recorded(seed)
        run.run()
        right, wrong = (
            everything(folded(run.told), run.now),
            everything(folded(shuffled(run.told, run.rng), fold), run.now),
        )
        for subject in right.keys() | wrong.keys():
            if subject not in wrong or subject not in right:
                found.add("subjects")
                continue
            found.update(
                each.name
                for each in fields(Figures)
                if getattr(right[subject], each.name) != getattr(wrong[subject], each.name)
            )
    return found


def shuffled(told: Sequence[Told], chance: random.Random) -> list[Told]:
    """Changes in any order, and half of them once more."""
    found = [*told, *chance.choices(told, k=len(told) // 2)]
    chance.shuffle(found)
    return found


def everything(run: RunKpis, now: datetime) -> dict[str, Figures]:
    """The figures of a run and of all its parts."""
    found = {"run": run_figures(run, now)}
    for phase in run.phases.values():
        found[f"phase {phase.id}"] = phase_figures(run, phase, now)
        for lane in phase.lanes().values():
            found[f"lane {lane.id}"] = lane_figures(run, phase, lane, now)
    return found


def above(changes: Iterable[tuple[RunKpis, Told]], now: datetime) -> dict[str, Figures]:
    """The figures of an environment and its departments that is told of every change."""
    environment = EnvironmentKpis(ENVIRONMENT)
    for run, (time, entities, events) in changes:
        found = run.take_in(time, entities, events)
        if environment.runs.get(run.plan) is run:
            environment.put(run, found)
        else:
            environment.add(run)
    departments = environment.departments.items()
    return {"": environment_figures(environment, now)} | {name: department_figures(d, now) for name, d in departments}


@pytest.mark.parametrize("batch", range(4))
def test_order_and_repetition_change_no_figure(batch: int) -> None:
    for seed in range(batch, SEEDS, 4):
        run = Recorded(seed)
        run.run()
        for at in (*run.rng.choices(range(1, len(run.told)), k=2), len(run.told)):
            told, now = run.told[:at], run.told[at - 1][0]
            assert everything(folded(shuffled(told, run.rng)), now) == everything(folded(told), now), seed


def test_what_a_fold_gets_wrong_about_order_and_repetition_shows_in_its_figures() -> None:
    assert differs(RunKpis) == set()
    assert {"failures", "failures_by_reason", "failure_rate"} <= differs(CountsAgain)
    told = {"rows", "bytes", "completion", "retries", "lanes", "phases", "verifications", "lag_seconds", "state"}
    assert told <= differs(LastTold)


def test_the_runs_that_chance_plays_bring_every_kind_of_figure() -> None:
    blank = Figures(rows=0, bytes=0, rows_expected=-1, completion=0.0)
    seen: set[str] = set()
    for seed in range(0, SEEDS, 4):
        run = Recorded(seed)
        run.run()
        for at in range(1, len(run.told), 5):
            for figures in everything(folded(run.told[:at]), run.told[at - 1][0]).values():
                seen.update(e.name for e in fields(Figures) if getattr(figures, e.name) != getattr(blank, e.name))
    assert {each.name for each in fields(Figures)} - seen == set()


@slow
@given(st.randoms(use_true_random=False), st.integers(0, 40))
def test_order_and_repetition_change_no_figure_whatever_chance_is_drawn(chance: random.Random, faults: int) -> None:
    run = Recorded(chance=chance, faults=faults)
    run.run()
    told = [*run.told, *chance.choices(run.told, k=5)]
    chance.shuffle(told)
    assert everything(folded(told), run.now) == everything(folded(run.told), run.now)


def test_what_is_stored_in_the_end_gives_the_figures_that_were_found_on_the_way() -> None:
    for seed in range(SEEDS):
        run = Recorded(seed)
        run.run()
        later = run.now + timedelta(seconds=WINDOW_SECONDS + 1)
        assert everything(folded([run.whole()]), later) == everything(folded(run.told), later), seed


def test_an_engine_that_follows_in_the_middle_of_a_run_comes_to_the_same_figures() -> None:
    for seed in range(SEEDS):
        run = Recorded(seed, faults=30)
        run.run()
        half = len(run.told) // 2
        stored: dict[object, Entity] = {}
        for _, entities, _ in run.told[:half]:
            stored.update({(type(e), getattr(e, "phase", ""), getattr(e, "id", "")): e for e in entities})
        events = [event for _, _, happened in run.told[:half] for event in happened]
        resumed = folded([(run.told[half][0], list(stored.values()), events), *run.told[half:]])
        later = run.now + timedelta(seconds=WINDOW_SECONDS + 1)
        assert everything(resumed, later) == everything(folded(run.told), later), seed


def test_what_sums_up_several_runs_is_the_same_in_any_order_and_only_of_the_newest_runs() -> None:
    for seed in range(0, SEEDS, 2):
        first, second = Recorded(seed), Recorded(seed + 1)
        first.run()
        second.run()
        now = max(first.now, second.now)

        def found(told: list[tuple[int, Told]], now: datetime = now) -> dict[str, Figures]:
            runs = [RunKpis(f"{ENVIRONMENT}/plans/p{at}/runs/r", verdict_of) for at in range(2)]
            return above([(runs[at], each) for at, each in told], now)

        told = [*((0, each) for each in first.told), *((1, each) for each in second.told)]
        expected = found(told)
        first.rng.shuffle(told)
        assert found(told) == expected, seed
        total = expected[""]
        parts = [everything(folded(run.told), now)["run"] for run in (first, second)]
        assert (total.rows, total.bytes) == (sum(p.rows for p in parts), sum(p.bytes for p in parts))
        assert total.failures == sum(part.failures for part in parts)
        replaced = RunKpis(f"{ENVIRONMENT}/plans/p0/runs/older", verdict_of)
        newest = RunKpis(f"{ENVIRONMENT}/plans/p0/runs/r", verdict_of)
        changes = [*((replaced, each) for each in second.told), (newest, first.whole())]
        alone = above([(folded([]), first.whole())], now)
        again = above(changes, now)
        assert {name: replace(f, run="", now=STILL, window=STILL) for name, f in again.items()} == {
            name: replace(f, run="", now=STILL, window=STILL) for name, f in alone.items()
        }
