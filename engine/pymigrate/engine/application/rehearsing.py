"""A revision made ready to be rehearsed: a run of it that was never started, its limits, and how long everything takes."""

import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from pymigrate.engine.application.estimating import Estimate, durations_of
from pymigrate.engine.application.limits import limits_of
from pymigrate.engine.application.revisions import aggregate_of
from pymigrate.engine.domain.drawing import Drawing, Draws, Twins
from pymigrate.engine.domain.durations import PlanDurations
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.rehearsal import Rehearsal, Rehearsed
from pymigrate.engine.domain.run import Run, RunAggregate
from pymigrate.engine.domain.schedule import Limits, Scheduler
from pymigrate.v1 import run_pb2

REHEARSED = "rehearsal"
Draw = Callable[[Drawing, RunAggregate, int], Awaitable[Draws]]
"""Makes draws; how, and in how many processes, is the caller's."""


class Stage:
    """What is rehearsed. `aggregate` is never changed: every rehearsal has a copy of its own."""

    def __init__(self, aggregate: RunAggregate, limits: Limits, durations: PlanDurations) -> None:
        self.aggregate = aggregate
        self._limits = limits
        self._durations = durations
        self._twins = Twins([RunCore(aggregate, random.Random(0))])

    def drawing(self, start: datetime, seed: int) -> Drawing:
        """Rehearsals from a start on, with other durations each time."""
        return Drawing(self._twins, self._limits, self._durations.drawn, start, seed)

    def median(self, start: datetime) -> tuple[Rehearsed, RunAggregate]:
        """One rehearsal with every duration as it is at the median, and the run as it is then. Raises FailedPrecondition when it would
        wait for ever."""
        cores = self._twins()
        found = Rehearsal(cores, self._limits, self._durations, Scheduler(random.Random(0)), start).run()
        return found, cores[0].aggregate


def stage_of(
    revision: run_pb2.PlanRevision,
    estimates: Mapping[tuple[str, str], Estimate],
    environment_lanes_max: int,
    lanes_max: int,
    start: datetime,
    *,
    is_calibrated: bool = True,
) -> Stage:
    """A revision whose datasets were all estimated. Its gates are approved when they are first waited at, and the plans that it depends on
    have succeeded."""
    run = Run(
        name=f"{revision.plan.name}/runs/{REHEARSED}",
        plan=revision.plan.name,
        key=REHEARSED,
        plan_hash=revision.plan.plan_hash,
        create_time=start,
        managed_by=REHEARSED,
    )
    return Stage(
        aggregate_of(run, revision),
        limits_of(revision, environment_lanes_max, lanes_max),
        durations_of(revision, estimates, is_calibrated=is_calibrated),
    )
