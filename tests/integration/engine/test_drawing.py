"""Draws on a thread and on processes: the same wherever they are made, and no process outlives its engine."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymigrate.engine.adapters.drawing import Drawers
from pymigrate.engine.application.estimating import estimates_of
from pymigrate.engine.application.rehearsing import Stage, stage_of
from pymigrate.engine.domain.drawing import Draws, drawn
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.testing.clock import START
from pymigrate.v1 import run_pb2
from tests.e2e.engines import is_alive, wait_until
from tests.unit.application.inquirers import a_revision

ROOT = Path(__file__).resolve().parents[3]
PHASES, DRAWS = 10, 20
WORTH = PHASES * DRAWS
SECONDS_MAX = 60


def plan_of(phases: int) -> run_pb2.PlanRevision:
    """A plan of phases one after the other, two datasets each."""
    revision = a_revision("items", "orders")
    sales = revision.plan.phases.pop("sales")
    for number in range(phases):
        phase = revision.plan.phases[f"p{number:02d}"]
        phase.CopyFrom(sales)
        phase.dependencies.extend([f"p{number - 1:02d}"] if number else [])
        for dataset in sales.datasets:
            revision.inspections[f"p{number:02d}/{dataset}"].CopyFrom(revision.inspections[f"sales/{dataset}"])
    return revision


def a_stage(phases: int = PHASES, *, is_never_open: bool = False) -> Stage:
    """What is rehearsed of it."""
    revision = plan_of(phases)
    if is_never_open:
        revision.plan.schedule.windows["w"].start, revision.plan.schedule.windows["w"].end = "02:00", "02:30"
        blackout = revision.plan.schedule.blackouts["b"]
        blackout.start, blackout.end = "2020-01-01", "2099-01-01"
    return stage_of(revision, estimates_of(revision, {}, lambda place, basis: {}), 0, 50, START)


@pytest.fixture
def drawers() -> Iterator[Drawers]:
    """Two processes, once they are worth it."""
    found = Drawers(processes=2, worth=WORTH)
    yield found
    found.close()


async def draws_of(drawers: Drawers, stage: Stage, draws: int = DRAWS, seed: int = 7) -> Draws:
    return await drawers.draw(stage.drawing(START, seed), stage.aggregate, draws)


def alone(stage: Stage, draws: int = DRAWS, seed: int = 7) -> Draws:
    """The same draws, on the caller's thread."""
    return drawn(stage.drawing(START, seed), stage.aggregate, draws)


def children() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid is not None]


async def test_draws_on_processes_are_those_on_a_thread(drawers: Drawers) -> None:
    stage = a_stage()
    assert await draws_of(drawers, stage) == alone(stage)
    assert len(children()) == 2


async def test_few_draws_start_no_process(drawers: Drawers) -> None:
    stage = a_stage(2)
    assert await draws_of(drawers, stage) == alone(stage)
    assert children() == []


async def test_processes_are_kept_for_the_next_draws_and_end_when_they_are_closed(drawers: Drawers) -> None:
    stage = a_stage()
    await draws_of(drawers, stage)
    before = children()
    await draws_of(drawers, stage, seed=8)
    assert sorted(children()) == sorted(before)
    drawers.close()
    drawers.close()
    assert children() == []


async def test_a_plan_that_would_wait_for_ever_is_refused_from_a_process_too(drawers: Drawers) -> None:
    with pytest.raises(FailedPrecondition, match="would wait for ever: look at its schedule"):
        await draws_of(drawers, a_stage(is_never_open=True))


async def test_draws_are_made_all_the_same_where_a_process_was_killed(drawers: Drawers) -> None:
    stage = a_stage()
    await draws_of(drawers, stage)
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    assert await draws_of(drawers, stage) == alone(stage)
    assert await draws_of(drawers, stage, seed=8) == alone(stage, seed=8)


def test_processes_end_with_an_engine_that_is_killed() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.engine.drawing_program"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    pids = [int(pid) for pid in program.stdout.readline().split()]
    program.kill()
    program.wait(SECONDS_MAX)
    program.stdin.close()
    program.stdout.close()
    assert len(pids) == 2
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
