"""The spans of runs, told from the stream of changes: run, phase, the wait for a host, and each host's attempt at a task.

A span is recorded when it ends. Its id, and its parent's, follow from what the run keeps; its start is read from the stored entities, so
that an engine which takes over tells the span as the one before would have. What only that one knew, since when a task had been waiting,
begins with the takeover.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.run_places import (
    attempt_place,
    call_place,
    phase_place,
    rollback_place,
    run_place,
    wait_place,
)
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.run import Failure, Lane, PhaseRun, Run, RunEvent, Task
from pymigrate.engine.domain.run_states import PHASE_IN_HAND, RUN_ENDED, PhaseState, RunState, TaskKind, TaskState
from pymigrate.engine.ports.tracing import Span, SpanContext, Tracing

RUNS_FOLLOWED_MAX = 1_000
NAMES: Mapping[TaskKind, str] = {TaskKind.COPY: "lane"}
ROLLED_BACK = frozenset({RunState.ROLLED_BACK, RunState.ROLLBACK_BLOCKED})
Attributes = dict[str, str | int | float | bool]
Place = Callable[[Run, str, int], SpanContext | None]


@dataclass(slots=True)
class _Held:
    """A task since it was last seen to change hands."""

    state: TaskState
    fence: int
    since: datetime
    failure: Failure | None


@dataclass(slots=True)
class _Followed:
    """What is known of a run under way."""

    run: Run
    begun: datetime
    undone_since: datetime | None = None
    phases: dict[str, PhaseRun] = field(default_factory=dict)
    lanes: dict[str, Lane] = field(default_factory=dict)
    tasks: dict[str, _Held] = field(default_factory=dict)


class RunTraces:
    """An observer of all runs. Runs without a trace, or whose trace nobody wants to see, cost a look."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._followed: dict[str, _Followed | None] = {}

    def observe(self, change: Change) -> None:
        """Records what has ended."""
        followed = self._take_in(change)
        if followed is None:
            return
        for entity in change.entities:
            match entity:
                case Run():
                    followed.run = entity
                case PhaseRun():
                    followed.phases[entity.id] = entity
                case Lane():
                    followed.lanes[entity.id] = entity
                case _:
                    pass
        for event in change.events:
            self._tell_event(followed, event)
        for entity in change.entities:
            if isinstance(entity, Task):
                self._tell_task(followed, entity, change)

    def _take_in(self, change: Change) -> _Followed | None:
        known = self._followed.get(change.run)
        run = next((entity for entity in change.entities if isinstance(entity, Run)), None)
        if change.is_whole and known is not None:
            known.phases.clear()
            known.lanes.clear()
        if change.run in self._followed or run is None:
            return known
        if len(self._followed) >= RUNS_FOLLOWED_MAX:
            self._forget_one()
        call = call_place(run)
        is_wanted = call is not None and call.is_sampled
        begun = run.create_time if run.attempt == 1 else _begun(change, run)
        self._followed[change.run] = _Followed(run, begun) if is_wanted else None
        return self._followed[change.run]

    def _forget_one(self) -> None:
        """One that has ended, if there is one, and the oldest."""
        ended = (name for name, each in self._followed.items() if each is None or each.run.state in RUN_ENDED)
        del self._followed[next(ended, next(iter(self._followed)))]

    def _tell_event(self, followed: _Followed, event: RunEvent) -> None:
        if event.type.startswith("phase."):
            self._tell_phase(followed, event)
        elif event.type == f"run.{event.to_state}":
            self._tell_run(followed, event)

    def _tell_run(self, followed: _Followed, event: RunEvent) -> None:
        run, to_state = followed.run, RunState(event.to_state)
        if to_state is RunState.RUNNING and event.from_state == RunState.FAILED:
            followed.begun = event.time
        elif to_state is RunState.ROLLING_BACK:
            followed.undone_since = event.time
        elif to_state in ROLLED_BACK:
            since, followed.undone_since = followed.undone_since or event.time, None
            place, parent = rollback_place(run, event.sequence), run_place(run, run.attempt)
            self._record("run rollback", place, parent, (since, event.time), _run_attributes(run, event), event.failure)
        elif to_state in RUN_ENDED:
            place, parent = run_place(run, run.attempt), call_place(run)
            attributes = _run_attributes(run, event)
            self._record("run", place, parent, (followed.begun, event.time), attributes, event.failure)

    def _tell_phase(self, followed: _Followed, event: RunEvent) -> None:
        if event.from_state not in PHASE_IN_HAND or event.to_state in PHASE_IN_HAND:
            return
        phase = followed.phases.get(last_segment(event.subject))
        if phase is None:
            return
        run = followed.run
        attributes = _run_attributes(run, event) | {
            "pymigrate.phase": phase.id,
            "pymigrate.department": phase.department,
            "pymigrate.attempt": phase.attempt,
        }
        times = (phase.start_time or event.time, event.time)
        place, parent = phase_place(run, phase.id, phase.attempt), run_place(run, phase.attempt)
        is_failed = event.to_state == PhaseState.FAILED
        self._record("phase", place, parent, times, attributes, event.failure if is_failed else None)

    def _tell_task(self, followed: _Followed, task: Task, change: Change) -> None:
        held = followed.tasks.get(task.id)
        if held is not None and (held.state, held.fence) == (task.state, task.fence):
            return
        if held is not None and held.state is TaskState.PENDING and task.state is TaskState.LEASED:
            self._record_task("wait", followed, task, (held.since, change.time), wait_place)
        if held is not None and held.state is TaskState.LEASED:
            failure = task.failure if task.failure is not held.failure else None
            name = NAMES.get(task.kind, str(task.kind))
            self._record_task(name, followed, task, (held.since, change.time), attempt_place, held.fence, failure)
        if task.state in {TaskState.PENDING, TaskState.LEASED}:
            is_taken_over = change.is_whole and task.state is TaskState.LEASED
            since = task.leased_time if is_taken_over and task.leased_time is not None else change.time
            followed.tasks[task.id] = _Held(task.state, task.fence, since, task.failure)
        else:
            followed.tasks.pop(task.id, None)

    def _record_task(
        self,
        name: str,
        followed: _Followed,
        task: Task,
        times: tuple[datetime, datetime],
        place: Place,
        fence: int = 0,
        failure: Failure | None = None,
    ) -> None:
        run, lane = followed.run, followed.lanes.get(task.lane)
        attributes: Attributes = {
            "pymigrate.run": run.name,
            "pymigrate.phase": task.phase,
            "pymigrate.task": task.id,
            "pymigrate.task.kind": str(task.kind),
            "pymigrate.task.state": str(task.state),
            "pymigrate.fence": fence or task.fence,
        }
        if task.datasets:
            attributes["pymigrate.datasets"] = ",".join(task.datasets)
        if lane is not None and fence:
            attributes |= {
                "pymigrate.lane": lane.id,
                "pymigrate.rows": lane.rows,
                "pymigrate.bytes": lane.bytes,
                "pymigrate.chunks": lane.chunks,
            }
        parent = phase_place(run, task.phase, task.attempt)
        self._record(name, place(run, task.id, fence or task.fence), parent, times, attributes, failure)

    def _record(
        self,
        name: str,
        place: SpanContext | None,
        parent: SpanContext | None,
        times: tuple[datetime, datetime],
        attributes: Attributes,
        failure: Failure | None,
    ) -> None:
        if place is None:
            return
        if failure is not None:
            attributes |= {"error.type": failure.reason}
        said = "" if failure is None else f"{failure.reason}: {failure.message}"
        self._tracing.record(Span(name, place, parent, *times, attributes, said))


def _run_attributes(run: Run, event: RunEvent) -> Attributes:
    return {
        "pymigrate.run": run.name,
        "pymigrate.plan": run.plan,
        "pymigrate.environment": environment_of(run.name),
        "pymigrate.attempt": run.attempt,
        "pymigrate.state": event.to_state,
    }


def _begun(change: Change, run: Run) -> datetime:
    """When a later attempt began: with the first of its phases, as far as is known."""
    starts = [
        phase.start_time
        for phase in change.entities
        if isinstance(phase, PhaseRun) and phase.attempt == run.attempt and phase.start_time is not None
    ]
    return min(starts, default=change.time)
