"""What was estimated for a run, what happened beside it, and what the next estimate learns from that."""

import asyncio
import math

import pytest

from pymigrate.engine.application.calibrations import (
    SAMPLES_OF_A_KIND_MAX,
    PlanCalibrations,
    kind_key,
)
from pymigrate.engine.application.followups import LEARN_INTERVAL_SECONDS
from pymigrate.engine.domain.calibration import Calibration
from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.domain.happenings import Succeeded
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase

RUN = f"{PLAN}/runs/r"
COPY_SECONDS, VERIFY_SECONDS, PUBLISH_SECONDS = 40.0, 10.0, 5.0
SECONDS = {"copy": COPY_SECONDS, "verify": VERIFY_SECONDS, "publish": PUBLISH_SECONDS}
BROKEN = run_pb2.Failure(reason="DATA_REFUSED", message="row 7")
ABOUT = 0.01


def outcome(p50: float, uncalibrated: float = 0.0) -> impact_pb2.Outcome:
    return impact_pb2.Outcome(
        estimated_seconds=impact_pb2.Quantiles(p50=p50, p90=p50 * 1.5), uncalibrated_seconds=uncalibrated
    )


def estimate(*datasets: str, phase: str = "a", copy: float = 20.0, uncalibrated: float = 0.0) -> impact_pb2.RunEstimate:
    """A run of one phase: 20 s of copying, 10 s of comparing and 4 s of publishing for each dataset, 44 s in all."""
    message = impact_pb2.RunEstimate(makespan=outcome(44))
    found = message.phases[phase]
    for each in (found.duration, found.downtime, found.write_downtime):
        each.CopyFrom(outcome(44))
    for name in datasets:
        dataset = found.datasets[name]
        dataset.copy.CopyFrom(outcome(copy, uncalibrated))
        dataset.verify.CopyFrom(outcome(10))
        dataset.publish.CopyFrom(outcome(4))
        dataset.basis = "measured"
    return message


async def start(engine: Engine, host: PlayedHost, run: str = "r") -> str:
    """Starts a run, whose systems a host looks at; its name."""
    message = run_pb2.Run(triggers={"run": run})
    request = run_pb2.StartRunRequest(parent=PLAN, run_id=run, run=message)
    call = asyncio.create_task(engine.runs.start(request, ME))
    while not call.done():
        if engine.inquiries.demand():
            await host.work(1)
        await asyncio.sleep(0)
    return call.result().name


async def work(engine: Engine, host: PlayedHost, tasks_max: int = 1_000) -> None:
    """The host does what it can claim, and takes its time."""
    for _ in range(tasks_max):
        task = await host.claim()
        if task is None:
            return
        engine.clock.advance(SECONDS.get(task.WhichOneof("work") or "", 0))
        await host.finish(task)


async def estimated(engine: Engine, host: PlayedHost, run: str = "r", copy: float = 20.0) -> str:
    """A run that has ended, and what was estimated for it."""
    name = await start(engine, host, run)
    assert await engine.learning.keep(name, estimate("orders", copy=copy))
    await work(engine, host)
    return name


async def copying(engine: Engine) -> Calibration | None:
    """What is learned of copying the phase's first dataset."""
    return await engine.store.read(
        lambda unit: PlanCalibrations(unit, PLAN).dataset(
            "a", "orders", "copy", "measured", "arrow", "sqlite", "duckdb"
        )
    )


@pytest.fixture
async def host(engine: Engine) -> PlayedHost:
    await engine.declare({"a": phase("orders")})
    found = PlayedHost(engine)
    await found.register()
    return found


async def test_what_was_estimated_is_told_before_anything_has_happened(engine: Engine, host: PlayedHost) -> None:
    run = await start(engine, host)
    await engine.learning.keep(run, estimate("orders"))
    told = await engine.learning.estimate_of(run)
    assert told.name == run
    assert told.estimate_time.ToDatetime(engine.clock.now().tzinfo) == engine.clock.now()
    downtime = told.phases["a"].downtime
    assert downtime.estimated_seconds.p50 == 44
    assert math.isnan(downtime.actual_seconds)
    assert math.isnan(downtime.error)
    assert math.isnan(told.phases["a"].datasets["orders"].copy.actual_seconds)
    assert math.isnan(told.makespan.actual_seconds)
    assert math.isnan(told.drift)


async def test_what_has_happened_so_far_is_told_while_the_run_goes_on(engine: Engine, host: PlayedHost) -> None:
    run = await start(engine, host)
    await engine.learning.keep(run, estimate("orders"))
    await work(engine, host, tasks_max=1)
    told = (await engine.learning.estimate_of(run)).phases["a"]
    assert told.datasets["orders"].copy.actual_seconds == COPY_SECONDS
    assert told.datasets["orders"].copy.error == pytest.approx(0.5)
    assert math.isnan(told.datasets["orders"].verify.actual_seconds)
    assert math.isnan(told.downtime.actual_seconds)


@pytest.mark.parametrize("is_settled", [False, True])
async def test_what_happened_is_told_beside_what_was_estimated(
    engine: Engine, host: PlayedHost, is_settled: bool
) -> None:
    run = await estimated(engine, host)
    if is_settled:
        assert await engine.learning.settle() == [run]
    told = await engine.learning.estimate_of(run)
    found, dataset = told.phases["a"], told.phases["a"].datasets["orders"]
    assert told.makespan.actual_seconds == found.duration.actual_seconds == found.downtime.actual_seconds == 55
    assert (dataset.copy.actual_seconds, dataset.verify.actual_seconds, dataset.publish.actual_seconds) == (40, 10, 5)
    assert dataset.verify.error == 0
    assert told.drift == found.write_downtime.error == pytest.approx(0.2)
    assert dataset.basis == "measured"


async def test_the_first_estimate_of_a_run_stays(engine: Engine, host: PlayedHost) -> None:
    run = await start(engine, host)
    assert await engine.learning.keep(run, estimate("orders"))
    assert not await engine.learning.keep(run, estimate("orders", copy=99))
    told = await engine.learning.estimate_of(run)
    assert told.phases["a"].datasets["orders"].copy.estimated_seconds.p50 == 20


async def test_an_estimate_is_kept_for_a_run_that_is_there_only(engine: Engine, host: PlayedHost) -> None:
    with pytest.raises(NotFound, match="there is no"):
        await engine.learning.keep(RUN, estimate("orders"))
    with pytest.raises(NotFound, match="there is no"):
        await engine.learning.estimate_of(RUN)


async def test_of_a_run_without_an_estimate_that_is_said(engine: Engine, host: PlayedHost) -> None:
    run = await start(engine, host)
    with pytest.raises(NotFound, match="nothing was estimated"):
        await engine.learning.estimate_of(run)


async def test_a_run_teaches_what_its_steps_took(engine: Engine, host: PlayedHost) -> None:
    assert await copying(engine) is None
    await estimated(engine, host)
    await engine.learning.settle()
    learned = await copying(engine)
    assert learned is not None
    assert learned.factor == pytest.approx(math.sqrt(2), rel=ABOUT)
    record = learned.record
    assert (record.runs, record.error, record.p90_share) == (1, 0.5, 0)


async def test_a_run_teaches_how_long_its_phases_kept_writers_out(engine: Engine, host: PlayedHost) -> None:
    await estimated(engine, host)
    await engine.learning.settle()
    learned = await engine.store.read(lambda unit: PlanCalibrations(unit, PLAN).downtime("a", "offline"))
    other = await engine.store.read(lambda unit: PlanCalibrations(unit, PLAN).downtime("other", "offline"))
    assert learned is not None
    assert learned == other
    assert learned.factor == pytest.approx(math.sqrt(55 / 44), rel=ABOUT)
    assert await engine.store.read(lambda unit: PlanCalibrations(unit, PLAN).downtime("other", "online")) is None


async def test_a_dataset_that_never_ran_learns_from_its_like(engine: Engine, host: PlayedHost) -> None:
    await estimated(engine, host)
    await engine.learning.settle()
    found = [
        await engine.store.read(
            lambda unit, key=key: PlanCalibrations(unit, f"{ENVIRONMENT}/plans/other").dataset("x", "y", "copy", *key)  # type: ignore[misc]  # bound
        )
        for key in (
            ("measured", "arrow", "sqlite", "duckdb"),
            ("declared", "arrow", "sqlite", "duckdb"),
            ("measured", "rows", "sqlite", "duckdb"),
            ("measured", "arrow", "postgres", "duckdb"),
            ("measured", "arrow", "sqlite", "postgres"),
        )
    ]
    assert found[0] is not None
    assert found[0].factor == pytest.approx(math.sqrt(2), rel=ABOUT)
    assert found[1:] == [None] * 4


async def test_a_calibrated_estimate_is_learned_from_as_it_was_before(engine: Engine, host: PlayedHost) -> None:
    run = await start(engine, host)
    await engine.learning.keep(run, estimate("orders", copy=40, uncalibrated=10))
    await work(engine, host)
    await engine.learning.settle()
    learned = await copying(engine)
    assert learned is not None
    assert learned.factor == pytest.approx(2, rel=ABOUT)
    assert learned.record.error == 0


async def test_settling_again_changes_nothing(engine: Engine, host: PlayedHost) -> None:
    run = await estimated(engine, host)
    assert await engine.learning.settle() == [run]
    before = await copying(engine), await engine.learning.estimate_of(run)
    assert await engine.learning.settle() == []
    assert (await copying(engine), await engine.learning.estimate_of(run)) == before


async def test_a_run_is_settled_by_itself_once_it_has_ended(engine: Engine, host: PlayedHost) -> None:
    await engine.followups.step()
    await estimated(engine, host)
    engine.clock.advance(LEARN_INTERVAL_SECONDS)
    await engine.followups.step()
    assert await copying(engine) is not None


async def test_a_run_whose_engine_died_is_settled_by_the_next(engine: Engine, host: PlayedHost) -> None:
    await estimated(engine, host)
    another = engine.again()
    await another.followups.step()
    assert await copying(another) is not None


async def test_two_engines_that_settle_at_once_settle_once(engine: Engine, host: PlayedHost) -> None:
    run = await estimated(engine, host)
    done = await asyncio.gather(engine.learning.settle(), engine.again().learning.settle())
    assert sorted(done) == [[], [run]]
    learned = await copying(engine)
    assert learned is not None
    assert learned.record.runs == 1


async def test_a_run_that_goes_on_is_not_settled(engine: Engine, host: PlayedHost) -> None:
    run = await start(engine, host)
    await engine.learning.keep(run, estimate("orders"))
    assert await engine.learning.settle() == []
    assert await copying(engine) is None


async def test_a_run_without_an_estimate_teaches_nothing(engine: Engine, host: PlayedHost) -> None:
    await start(engine, host)
    await work(engine, host)
    assert await engine.learning.settle() == []
    assert await copying(engine) is None


async def test_a_run_that_was_paused_teaches_what_its_steps_took_and_not_how_long_it_was_down(
    engine: Engine, host: PlayedHost
) -> None:
    run = await start(engine, host)
    await engine.learning.keep(run, estimate("orders"))
    await work(engine, host, tasks_max=1)
    await engine.runs.steer(run, DesiredState.PAUSED, ME)
    engine.clock.advance(10_000)
    await engine.runs.steer(run, DesiredState.RUNNING, ME)
    await work(engine, host)
    await engine.learning.settle()
    assert await copying(engine) is not None
    assert await engine.store.read(lambda unit: PlanCalibrations(unit, PLAN).downtime("a", "offline")) is None
    told = await engine.learning.estimate_of(run)
    assert told.phases["a"].downtime.actual_seconds == 10_055
    assert told.phases["a"].downtime.disturbance == "the run was paused meanwhile"
    assert math.isnan(told.drift)


async def closed_from(engine: Engine, opening: str) -> str:
    """A run of a phase with a blackout until the next day, which began half a minute after midnight and has ended."""
    closed = phase("orders")
    closed.schedule.blackouts["night"].start, closed.schedule.blackouts["night"].end = opening, "2026-01-02"
    await engine.declare({"a": closed})
    engine.clock.advance(30)
    host = PlayedHost(engine)
    await host.register()
    run = await start(engine, host)
    await engine.learning.keep(run, estimate("orders"))
    await work(engine, host)
    engine.clock.advance(86_400)
    await work(engine, host)
    assert await engine.learning.settle() == [run]
    return run


async def test_a_phase_that_its_window_interrupted_does_not_teach_how_long_it_is_down(engine: Engine) -> None:
    run = await closed_from(engine, "2026-01-01T00:01")
    told = await engine.learning.estimate_of(run)
    assert told.phases["a"].downtime.disturbance == "its window was closed meanwhile"
    assert await copying(engine) is not None
    assert await engine.store.read(lambda unit: PlanCalibrations(unit, PLAN).downtime("a", "offline")) is None


async def test_a_phase_that_waited_for_its_window_to_begin_teaches_how_long_it_is_down(engine: Engine) -> None:
    run = await closed_from(engine, "2026-01-01")
    told = await engine.learning.estimate_of(run)
    assert (told.phases["a"].downtime.actual_seconds, told.phases["a"].downtime.disturbance) == (55, "")
    assert await engine.store.read(lambda unit: PlanCalibrations(unit, PLAN).downtime("a", "offline")) is not None


async def test_a_run_that_failed_teaches_of_the_phases_that_went_through_and_after_a_retry_of_the_others(
    engine: Engine,
) -> None:
    await engine.declare({"a": phase("orders"), "b": phase("people", needs=["a"])})
    host = PlayedHost(engine)
    await host.register()
    run = await start(engine, host)
    both = estimate("orders")
    both.phases["b"].CopyFrom(estimate("people").phases["a"])
    await engine.learning.keep(run, both)
    await work(engine, host, tasks_max=4)
    task = await host.claim()
    assert task is not None
    await host.finish(task, BROKEN)
    await work(engine, host)
    assert await engine.learning.settle() == [run]
    failed = await engine.learning.estimate_of(run)
    assert failed.phases["a"].downtime.actual_seconds == 55
    assert math.isnan(failed.phases["b"].downtime.actual_seconds)
    assert math.isnan(failed.makespan.actual_seconds)
    kind = kind_key("arrow", "sqlite", "duckdb", "copy", "measured")
    places = await engine.store.read(lambda unit: [each.place for each in unit.samples.newest(ENVIRONMENT, kind, 9)])
    assert places == [f"{PLAN}/phases/a/datasets/orders"]

    retrying = asyncio.create_task(engine.runs.retry(run, ME))
    while not retrying.done():
        if engine.inquiries.demand():
            await host.work(1)
        await asyncio.sleep(0)
    await work(engine, host)
    assert await engine.learning.settle() == [run]
    told = await engine.learning.estimate_of(run)
    assert told.phases["b"].downtime.actual_seconds == 55
    assert told.makespan.disturbance == "it was retried"
    places = await engine.store.read(lambda unit: [each.place for each in unit.samples.newest(ENVIRONMENT, kind, 9)])
    assert places == [f"{PLAN}/phases/b/datasets/people", f"{PLAN}/phases/a/datasets/orders"]


async def test_a_plan_of_many_datasets_gives_its_like_a_few_samples_and_each_dataset_its_own(engine: Engine) -> None:
    names = [f"d{number}" for number in range(SAMPLES_OF_A_KIND_MAX + 3)]
    await engine.declare({"a": phase(*names)})
    host = PlayedHost(engine)
    await host.register()
    run = await start(engine, host)
    many = estimate(*names)
    many.phases["a"].datasets["d6"].copy.estimated_seconds.p50 = 39
    await engine.learning.keep(run, many)
    await work(engine, host)
    await engine.learning.settle()
    kind = kind_key("arrow", "sqlite", "duckdb", "copy", "measured")
    alike = await engine.store.read(lambda unit: list(unit.samples.newest(ENVIRONMENT, kind, 99)))
    assert len(alike) == SAMPLES_OF_A_KIND_MAX
    assert f"{PLAN}/phases/a/datasets/d6" in {each.place for each in alike}
    for name in names:
        own = await engine.store.read(
            lambda unit, name=name: PlanCalibrations(unit, PLAN).dataset("a", name, "copy", "measured", "", "", "")  # type: ignore[misc]  # bound
        )
        assert own is not None


async def test_an_estimate_of_nothing_teaches_nothing_and_its_error_is_no_number(
    engine: Engine, host: PlayedHost
) -> None:
    run = await estimated(engine, host, copy=0)
    assert await engine.learning.settle() == [run]
    assert await copying(engine) is None
    assert (await engine.learning.estimate_of(run)).phases["a"].datasets["orders"].copy.error == 1


async def test_what_took_no_time_has_an_error_only_where_that_was_estimated(engine: Engine) -> None:
    live = phase("orders")
    live.downtime_policy = plan_pb2.DOWNTIME_POLICY_READ_ONLY
    await engine.declare({"a": live})
    host = PlayedHost(engine)
    await host.register()
    run = await estimated(engine, host)
    told = (await engine.learning.estimate_of(run)).phases["a"]
    assert told.downtime.actual_seconds == 0
    assert math.isnan(told.downtime.error)
    assert told.write_downtime.actual_seconds == 55


async def test_what_an_estimate_says_of_parts_that_the_run_has_not_stays_as_it_is(
    engine: Engine, host: PlayedHost
) -> None:
    run = await start(engine, host)
    message = estimate("orders", "gone")
    message.phases["nowhere"].CopyFrom(message.phases["a"])
    await engine.learning.keep(run, message)
    await work(engine, host)
    assert await engine.learning.settle() == [run]
    told = await engine.learning.estimate_of(run)
    assert math.isnan(told.phases["nowhere"].downtime.actual_seconds)
    assert math.isnan(told.phases["a"].datasets["gone"].copy.actual_seconds)


@pytest.mark.parametrize("name", ["environments/prod/plans/p", "p", ""])
async def test_a_name_that_is_no_run_s_is_told_to_be_none(engine: Engine, name: str) -> None:
    with pytest.raises(NotFound, match="is no run's name: write it as environments/prod/plans/warehouse/runs/r1"):
        await engine.learning.estimate_of(name)
    with pytest.raises(NotFound, match="is no run's name"):
        await engine.board.apply(name, Succeeded("copy.a.1", 1))
