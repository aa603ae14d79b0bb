"""Rehearsals of what is left of runs that are under way."""

import random
from dataclasses import dataclass
from datetime import timedelta

from pymigrate.engine.domain.happenings import Begun, Leased, Progressed, Steered, Succeeded
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.rehearsal import Rehearsal, Rehearsed
from pymigrate.engine.domain.run import RunAggregate, Task
from pymigrate.engine.domain.run_states import DesiredState, RunState, TaskKind
from pymigrate.engine.domain.schedule import Limits, Place, Scheduler
from pymigrate.engine.domain.sharing import CopyShape
from tests.property.simulated_runs import START, aggregate_of

HOST = "workerHosts/h"


@dataclass
class Steady:
    """A lane opens for two seconds and has ten chunks of a second; everything else takes five seconds."""

    def copy(self, core: RunCore, task: Task) -> CopyShape:
        return CopyShape(10, 100, 1_000, 1.0, fixed_seconds=2.0)

    def seconds(self, core: RunCore, task: Task) -> float:
        return 5.0

    def slowdown(self, source: Place, source_lanes: int, target: Place, target_lanes: int, lanes: int) -> float:
        return 1.0


def begun(aggregate: RunAggregate) -> RunCore:
    core = RunCore(aggregate, random.Random(1))
    core.apply(Begun(), START)
    return core


def lease(core: RunCore, kind: TaskKind, seconds: float) -> Task:
    now = START + timedelta(seconds=seconds)
    task = next(task for task in core.claimable(now) if task.kind is kind)
    assert core.apply(Leased(task.id, HOST, now + timedelta(seconds=15)), now)
    return task


def tell(core: RunCore, event: Progressed | Succeeded | Steered, seconds: float) -> None:
    assert core.apply(event, START + timedelta(seconds=seconds))


def rehearse(core: RunCore, seconds: float, limits: Limits | None = None) -> Rehearsed:
    """What is left, from so many seconds after the run's start on. The run itself is left alone."""
    again = RunCore(core.aggregate.copied(), random.Random(1))
    start = START + timedelta(seconds=seconds)
    return Rehearsal([again], limits or Limits(50), Steady(), Scheduler(random.Random(2)), start).run()


def test_a_lane_goes_on_after_the_chunks_that_it_has_done() -> None:
    core = begun(aggregate_of({"a": ()}))
    task = lease(core, TaskKind.COPY, 0)
    tell(core, Progressed(task.id, task.fence, 7, 70, 700), 9)
    found = rehearse(core, 9)
    assert found.makespan_seconds == 3 + 5 + 5
    assert found.lane_changes == [(0.0, 1), (3.0, 0)]


def test_a_lane_that_is_opening_its_systems_has_what_is_left_of_that() -> None:
    core = begun(aggregate_of({"a": ()}))
    lease(core, TaskKind.COPY, 0)
    assert rehearse(core, 0.5).makespan_seconds == 1.5 + 10 + 10


def test_another_task_has_what_is_left_of_its_time() -> None:
    core = begun(aggregate_of({"a": ()}))
    task = lease(core, TaskKind.COPY, 0)
    tell(core, Succeeded(task.id, task.fence), 12)
    lease(core, TaskKind.VERIFY, 12)
    assert rehearse(core, 14).makespan_seconds == 3 + 5


def test_a_task_that_takes_longer_than_was_thought_ends_at_once() -> None:
    core = begun(aggregate_of({"a": ()}))
    task = lease(core, TaskKind.COPY, 0)
    tell(core, Succeeded(task.id, task.fence), 12)
    lease(core, TaskKind.VERIFY, 12)
    assert rehearse(core, 100).makespan_seconds == 5


def test_what_waits_is_granted_beside_what_hosts_have() -> None:
    core = begun(aggregate_of({"a": (), "b": ()}))
    lease(core, TaskKind.COPY, 0)
    assert rehearse(core, 2).lanes_peak == 2
    assert rehearse(core, 2, Limits(1)).makespan_seconds == 10 + 2 + 10 + 10


def test_the_times_of_a_phase_under_way_are_told_from_its_start() -> None:
    core = begun(aggregate_of({"a": ()}))
    lease(core, TaskKind.COPY, 0)
    found = rehearse(core, 4)
    (phases,) = found.phases.values()
    assert (phases["a"].start_seconds, phases["a"].end_seconds) == (-4, 20)


def test_a_paused_run_is_rehearsed_as_if_it_went_on_now() -> None:
    core = begun(aggregate_of({"a": ()}))
    tell(core, Steered(DesiredState.PAUSED, "people"), 1)
    found = rehearse(core, 60)
    assert found.makespan_seconds == 2 + 10 + 10
    assert core.run.state is RunState.PAUSED


def test_a_gate_that_is_already_waited_at_is_approved() -> None:
    aggregate = aggregate_of({"a": (), "b": ()})
    aggregate.phases["a"].gates = {"look": "before_publication"}
    aggregate.phases["b"].gates = {"go": "before_start"}
    core = begun(aggregate)
    copy = lease(core, TaskKind.COPY, 0)
    tell(core, Succeeded(copy.id, copy.fence), 12)
    verify = lease(core, TaskKind.VERIFY, 12)
    tell(core, Succeeded(verify.id, verify.fence), 17)
    found = rehearse(core, 30)
    (phases,) = found.phases.values()
    assert {name: times.end_seconds for name, times in phases.items()} == {"a": 5, "b": 22}


def test_a_cancelled_run_is_rehearsed_to_its_end() -> None:
    core = begun(aggregate_of({"a": ()}))
    lease(core, TaskKind.COPY, 0)
    tell(core, Steered(DesiredState.CANCELLED, "people"), 4)
    found = rehearse(core, 4)
    assert found.phases == {core.run.name: {}}
    assert found.makespan_seconds == 5  # what is staged is dropped


def online() -> RunCore:
    aggregate = aggregate_of({"a": ()})
    aggregate.phases["a"].is_live = aggregate.phases["a"].is_online = True
    aggregate.datasets["a", "d0"].lag_seconds_max = 1.0
    core = begun(aggregate)
    capture = lease(core, TaskKind.CAPTURE, 0)
    tell(core, Succeeded(capture.id, capture.fence), 5)
    copy = lease(core, TaskKind.COPY, 5)
    tell(core, Succeeded(copy.id, copy.fence), 17)
    return core


def test_staging_that_is_behind_has_caught_up_when_its_task_ends() -> None:
    core = online()
    task = lease(core, TaskKind.CATCH_UP, 17)
    tell(core, Progressed(task.id, task.fence, 0, 0, 0, 400.0, 3), 18)
    found = rehearse(core, 19)
    (phases,) = found.phases.values()
    assert (phases["a"].verify_seconds, phases["a"].end_seconds) == (3, 13)


def test_writes_that_are_blocked_already_have_been_since_the_verification_began() -> None:
    core = online()
    task = lease(core, TaskKind.CATCH_UP, 17)
    tell(core, Succeeded(task.id, task.fence), 22)
    lease(core, TaskKind.VERIFY, 22)
    found = rehearse(core, 24)
    (phases,) = found.phases.values()
    assert (phases["a"].verify_seconds, phases["a"].end_seconds) == (-2, 8)


def test_a_copied_run_may_be_changed_without_the_other() -> None:
    aggregate = aggregate_of({"a": ()}, datasets=2)
    core = begun(aggregate)
    lease(core, TaskKind.COPY, 0)
    again = aggregate.copied()
    assert again == aggregate
    for name, parts in (("lanes", again.lanes), ("tasks", again.tasks), ("phases", again.phases)):
        assert all(part is not getattr(aggregate, name)[key] for key, part in parts.items())
    again.lanes["a.d0"].chunks = 5
    assert aggregate.lanes["a.d0"].chunks == 0
