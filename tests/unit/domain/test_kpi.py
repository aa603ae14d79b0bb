"""Each figure of a run, as its records and events give it."""

import random
from datetime import timedelta

import pytest

from pymigrate.engine.application.kpi_messages import OTHER, REASONS_MAX, kpis_message
from pymigrate.engine.domain.happenings import (
    Begun,
    CoreEvent,
    Failed,
    Leased,
    Progressed,
    Retried,
    RollbackAsked,
    Succeeded,
)
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.kpi_figures import Figures, lane_figures, phase_figures, run_figures
from pymigrate.engine.domain.kpi_phase import Verdict
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import RunAggregate, Task
from pymigrate.engine.domain.run_states import PhaseState, TaskKind
from tests.property.simulated_runs import PERMANENT, PLAN, START, TEMPORARY, aggregate_of

EXPECTED = 10


class Told:
    """A run that is played second by second, and its figures."""

    def __init__(self, aggregate: RunAggregate) -> None:
        self.core = RunCore(aggregate, random.Random(1))
        self.kpis = RunKpis(f"{PLAN}/runs/r", lambda body: Verdict("verified", int(body)))
        self.now = START
        for entity in aggregate.entities():
            entity.version = 1
        self.kpis.take_in(self.now, list(aggregate.entities()))
        self.do(Begun())

    def do(self, event: CoreEvent) -> None:
        assert self.core.apply(event, self.now)
        entities, events = self.core.take()
        for entity in entities:
            entity.version += 1
        self.kpis.take_in(self.now, entities, events)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def lease(self, kind: TaskKind = TaskKind.COPY, phase: str = "a") -> Task:
        task = next(t for t in self.core.claimable(self.now) if t.kind is kind and t.phase == phase)
        self.do(Leased(task.id, "workerHosts/h", self.now + timedelta(days=1)))
        return task

    def copy(self, rows: int, phase: str = "a") -> Task:
        """A lane gets so far in one chunk."""
        task = self.lease(TaskKind.COPY, phase)
        self.do(Progressed(task.id, task.fence, 1, rows, rows * 10))
        return task

    def finish(self, rows: int = EXPECTED) -> None:
        """Everything that is to be done, at once; a verification finds so many rows."""
        while tasks := self.core.claimable(self.now):
            task = self.lease(tasks[0].kind, tasks[0].phase)
            if task.kind is TaskKind.COPY:
                self.do(Progressed(task.id, task.fence, 1, EXPECTED, EXPECTED * 10))
            self.do(Succeeded(task.id, task.fence, str(rows).encode()))

    @property
    def figures(self) -> Figures:
        return run_figures(self.kpis, self.now)

    def phase(self, name: str = "a") -> Figures:
        return phase_figures(self.kpis, self.kpis.phases[name], self.now)


def one() -> Told:
    return Told(aggregate_of({"a": ()}))


def two() -> Told:
    return Told(aggregate_of({"a": (), "b": ()}))


def test_a_fresh_run_has_no_rows_and_knows_how_many_are_expected() -> None:
    found = two().figures
    assert (found.rows, found.rows_expected, found.completion) == (0, 2 * EXPECTED, 0.0)
    assert found.phases == {"ready": 2}
    assert found.lanes == {"pending": 2}
    assert found.verifications == {"pending": 2}


def test_completion_is_the_share_of_the_rows() -> None:
    told = two()
    told.copy(5)
    assert (told.phase("a").completion, told.phase("b").completion, told.figures.completion) == (0.5, 0.0, 0.25)


def test_nothing_is_done_to_the_whole_before_it_is_published() -> None:
    told = one()
    task = told.copy(EXPECTED)
    told.do(Succeeded(task.id, task.fence))
    assert 0.99 < told.figures.completion < 1.0
    told.finish()
    assert told.figures.completion == 1.0


def test_a_published_phase_is_done_whatever_its_filters_left_out() -> None:
    told = two()
    task = told.copy(3)
    told.do(Succeeded(task.id, task.fence))
    for kind in (TaskKind.VERIFY, TaskKind.PUBLISH):
        task = told.lease(kind)
        told.do(Succeeded(task.id, task.fence, b"3"))
    assert (told.figures.rows, told.figures.completion) == (3, 0.5)


def test_where_rows_are_not_known_phases_are_counted() -> None:
    aggregate = aggregate_of({"a": (), "b": ("a",)})
    aggregate.datasets["b", "d0"].rows_expected = -1
    told = Told(aggregate)
    task = told.copy(EXPECTED)
    assert (told.figures.rows_expected, told.figures.completion) == (-1, 0.0)
    told.do(Succeeded(task.id, task.fence))
    for kind in (TaskKind.VERIFY, TaskKind.PUBLISH):
        task = told.lease(kind)
        told.do(Succeeded(task.id, task.fence, b"10"))
    assert told.figures.completion == 0.5


def test_a_run_of_no_rows_is_done_when_it_is_published() -> None:
    aggregate = aggregate_of({"a": ()})
    aggregate.datasets["a", "d0"].rows_expected = 0
    told = Told(aggregate)
    assert (told.figures.rows_expected, told.figures.completion) == (0, 0.0)
    told.finish()
    assert told.figures.completion == 1.0


def test_a_try_that_failed_is_told_with_its_reason_and_its_share_of_the_tries() -> None:
    told = one()
    task = told.copy(5)
    told.do(Failed(task.id, task.fence, TEMPORARY))
    found = told.figures
    assert (found.failures, found.failures_by_reason, found.retries) == (1, {TEMPORARY.reason: 1}, 1)
    assert found.failure_rate == 0.5
    assert found.lanes == {"stalled": 1}
    (lane,) = told.kpis.phases["a"].lanes().values()
    assert lane_figures(told.kpis, told.kpis.phases["a"], lane, told.now).failures == 1


def test_a_failure_that_no_try_would_mend_is_counted_once_and_takes_the_staged_rows_along() -> None:
    told = one()
    task = told.copy(5)
    told.do(Failed(task.id, task.fence, PERMANENT))
    found = told.figures
    assert (found.failures, found.failures_by_reason, found.retries) == (1, {PERMANENT.reason: 1}, 0)
    assert (found.rows, found.completion, found.phases, found.lanes) == (0, 0.0, {"failed": 1}, {"failed": 1})


def test_a_new_attempt_counts_its_own_rows_and_keeps_the_failures_of_the_last() -> None:
    told = one()
    task = told.copy(5)
    told.do(Failed(task.id, task.fence, PERMANENT))
    told.finish()
    told.do(Retried("me"))
    told.copy(2)
    found = told.figures
    assert (found.rows, found.lanes, found.failures) == (2, {"running": 1}, 1)


def test_what_is_rolled_back_has_no_rows() -> None:
    told = one()
    told.finish()
    assert told.figures.rows == EXPECTED
    told.do(RollbackAsked("me"))
    told.finish()
    assert (told.figures.rows, told.figures.completion, told.figures.phases) == (0, 0.0, {"rolled_back": 1})


def test_throughput_is_told_of_the_last_seconds_the_last_minute_and_on_average() -> None:
    told = one()
    task = told.lease()
    told.wait(10)
    told.do(Progressed(task.id, task.fence, 1, 600, 6_000))
    found = told.figures
    assert (found.now.rows_per_second, found.window.rows_per_second) == (120, 10)
    assert (found.average.rows_per_second, found.average.bytes_per_second) == (60, 600)
    told.wait(5)
    assert (told.figures.now.rows_per_second, told.figures.window.rows_per_second) == (0, 10)
    told.wait(60)
    assert told.figures.window.rows_per_second == 0


def test_the_average_stands_still_when_nothing_is_left_to_be_copied() -> None:
    told = one()
    task = told.lease()
    told.wait(10)
    told.do(Progressed(task.id, task.fence, 1, 600, 6_000))
    told.do(Succeeded(task.id, task.fence))
    told.wait(90)
    assert told.figures.average.rows_per_second == 60


def test_downtime_runs_from_the_first_lane_to_the_publication_and_overlaps_once_in_a_department() -> None:
    told = two()
    told.copy(5, "a")
    told.wait(10)
    told.copy(5, "b")
    told.wait(10)
    assert (told.phase("a").downtime_seconds, told.phase("b").downtime_seconds) == (20, 10)
    assert told.figures.downtime_seconds == 20


def test_sources_that_serve_meanwhile_are_not_down() -> None:
    aggregate = aggregate_of({"a": ()})
    aggregate.phases["a"].is_live = True
    told = Told(aggregate)
    told.copy(5)
    told.wait(10)
    assert told.figures.downtime_seconds == 0


def test_downtime_of_an_attempt_that_failed_stays_used() -> None:
    told = one()
    task = told.copy(5)
    told.wait(10)
    told.do(Failed(task.id, task.fence, PERMANENT))
    told.wait(100)
    assert told.figures.downtime_seconds == 10
    told.finish()
    told.do(Retried("me"))
    told.copy(2)
    told.wait(5)
    assert told.figures.downtime_seconds == 15


def test_staging_that_catches_up_is_told_with_its_lag_and_afterwards_with_the_rows_that_it_holds() -> None:
    aggregate = aggregate_of({"a": ()})
    aggregate.phases["a"].is_online = True
    aggregate.datasets["a", "d0"].lag_seconds_max = 10.0
    told = Told(aggregate)
    assert told.figures.lag_seconds == -1
    capture = told.lease(TaskKind.CAPTURE)
    told.do(Succeeded(capture.id, capture.fence))
    task = told.copy(EXPECTED)
    told.do(Succeeded(task.id, task.fence))
    task = told.lease(TaskKind.CATCH_UP)
    told.do(Progressed(task.id, task.fence, 0, 0, 0, 7.5, 3))
    assert told.figures.lag_seconds == 7.5
    told.do(Succeeded(task.id, task.fence))
    told.finish(rows=EXPECTED + 3)
    assert told.kpis.phases["a"].record is not None
    assert told.kpis.phases["a"].record.state is PhaseState.PUBLISHED
    assert (told.figures.lag_seconds, told.figures.rows) == (-1, EXPECTED + 3)


def test_reasons_beyond_the_most_that_are_told_are_told_together() -> None:
    reasons = {f"REASON_{number:02d}": number + 1 for number in range(REASONS_MAX + 5)}
    total = sum(reasons.values())
    found = Figures(0, 0, 0, 0.0, failures=total, failures_by_reason=reasons)
    told = dict(kpis_message("x", found).errors.by_reason)
    assert len(told) == REASONS_MAX
    assert sum(told.values()) == total
    assert told[OTHER] == pytest.approx(sum(range(1, 7)))
