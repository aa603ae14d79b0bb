"""The spans of a run, from the call that started it down to each host's attempt, told by whichever engine is there."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from pymigrate.engine.application.run_traces import RunTraces
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.engine.ports.tracing import Span, SpanContext, read_traceparent, within
from pymigrate.engine.testing.tracing import RecordedTracing
from pymigrate.v1 import run_pb2, worker_pb2
from tests.unit.application.engines import ME, PLAN, Engine, PlayedHost, phase

CALL = SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
ROUNDS_MAX = 1_000
UNSAMPLED = SpanContext(CALL.trace_id, CALL.span_id, is_sampled=False)
LOST = run_pb2.Failure(reason="SOURCE_CHANGED", message="the source has changed")


def traced(engine: Engine) -> RecordedTracing:
    """The engine's spans from now on."""
    tracing = RecordedTracing()
    engine.board.changes.follow(RunTraces(tracing).observe)
    return tracing


async def started(engine: Engine, host: PlayedHost, call: SpanContext | None = CALL) -> str:
    """A run that a call started, with its inspections answered."""
    await host.register()
    with within(call):
        starting = engine.runs.start(run_pb2.StartRunRequest(parent=PLAN), ME)
        return (await looked_at(engine, host, starting)).name


async def looked_at(engine: Engine, host: PlayedHost, call: Coroutine[Any, Any, run_pb2.Run]) -> run_pb2.Run:
    """What a call answers that waits for a look at its sources and targets."""
    calling = asyncio.create_task(call)
    while not calling.done():
        await asyncio.sleep(0)
        if engine.inquiries.demand():
            await host.work(1)
    return calling.result()


async def copied(host: PlayedHost, kind: str) -> worker_pb2.Task:
    """The next task, which is of that kind."""
    task = await host.claim()
    assert task is not None
    assert task.WhichOneof("work") == kind
    return task


def only(spans: list[Span]) -> Span:
    """The one that there is."""
    assert len(spans) == 1, spans
    return spans[0]


async def test_a_run_s_spans_lead_from_the_call_down_to_each_attempt() -> None:
    engine = Engine()
    tracing, host = traced(engine), PlayedHost(engine)
    await engine.declare({"sales": phase("orders")})
    name = await started(engine, host)
    engine.clock.advance(2)
    task = await copied(host, "copy")
    engine.clock.advance(3)
    await host.finish(task)
    await host.work()
    assert (await engine.runs.get(name)).end_time.seconds
    lane, run = only(tracing.named("lane")), only(tracing.named("run"))
    assert tracing.parents_of(lane) == ["phase", "run", CALL.span_id]
    assert {span.context.trace_id for span in tracing.spans} == {CALL.trace_id}
    assert {span.name for span in tracing.spans} == {"run", "phase", "wait", "lane", "verify", "publish"}
    assert (lane.end - lane.start).total_seconds() == 3
    assert lane.attributes["pymigrate.rows"] == 10
    wait = next(span for span in tracing.named("wait") if span.attributes["pymigrate.task"] == task.id)
    assert (wait.end - wait.start).total_seconds() == 2
    assert tracing.parents_of(wait) == ["phase", "run", CALL.span_id]
    assert (run.end - run.start).total_seconds() == 5
    assert run.attributes["pymigrate.state"] == "succeeded"
    assert not any(span.failure for span in tracing.spans)


async def test_a_host_is_told_the_attempt_as_the_parent_of_its_own_spans() -> None:
    engine = Engine()
    tracing, host = traced(engine), PlayedHost(engine)
    await engine.declare({"sales": phase("orders")})
    await started(engine, host)
    task = await copied(host, "copy")
    await host.finish(task)
    assert read_traceparent(task.traceparent) == only(tracing.named("lane")).context


async def test_another_engine_tells_the_spans_of_a_run_that_it_takes_over_under_the_same_ids() -> None:
    engine = Engine()
    host = PlayedHost(engine)
    await engine.declare({"sales": phase("orders")})
    name = await started(engine, host)
    task = await copied(host, "copy")
    engine.clock.advance(4)
    heir = engine.again()
    tracing, host = traced(heir), PlayedHost(heir)
    await heir.board.restore()
    await heir.hosts.restore()
    await host.register(worker_pb2.TaskLease(task_id=task.id, fence=task.fence, credential=task.credential))
    engine.clock.advance(1)
    await host.finish(task)
    await host.work()
    lane = only(tracing.named("lane"))
    assert lane.context == read_traceparent(task.traceparent)
    assert (lane.end - lane.start).total_seconds() == 5
    assert tracing.parents_of(lane) == ["phase", "run", CALL.span_id]
    assert (only(tracing.named("run")).end - only(tracing.named("run")).start).total_seconds() == 5
    assert (await heir.runs.get(name)).end_time.seconds


async def test_a_failed_attempt_says_why_and_the_phase_and_the_run_above_it_too() -> None:
    engine = Engine()
    tracing, host = traced(engine), PlayedHost(engine)
    await engine.declare({"sales": phase("orders")})
    await started(engine, host)
    await host.finish(await copied(host, "copy"), LOST)
    await host.work()
    assert only(tracing.named("lane")).failure == "SOURCE_CHANGED: the source has changed"
    assert only(tracing.named("phase")).failure.startswith("SOURCE_CHANGED")
    assert only(tracing.named("run")).failure
    assert only(tracing.named("lane")).attributes["error.type"] == "SOURCE_CHANGED"


async def test_a_retried_run_has_a_span_for_each_attempt_with_its_own_phases_below() -> None:
    engine = Engine()
    tracing, host = traced(engine), PlayedHost(engine)
    await engine.declare({"sales": phase("orders")})
    name = await started(engine, host)
    await host.finish(await copied(host, "copy"), LOST)
    await host.work()
    engine.clock.advance(60)
    await looked_at(engine, host, engine.runs.retry(name, ME))
    engine.clock.advance(1)
    await host.work()
    first, second = tracing.named("run")
    assert (first.attributes["pymigrate.attempt"], second.attributes["pymigrate.attempt"]) == (1, 2)
    assert (second.end - second.start).total_seconds() == 1
    assert [span.parent for span in tracing.named("phase")] == [first.context, second.context]
    assert first.parent == second.parent == CALL


async def test_an_attempt_whose_host_is_lost_ends_and_the_next_one_has_a_span_of_its_own() -> None:
    engine = Engine()
    tracing, host = traced(engine), PlayedHost(engine)
    await engine.declare({"sales": phase("orders")})
    await started(engine, host)
    first = await copied(host, "copy")
    await engine.hosts.forget("workerHosts/h")
    other = PlayedHost(engine, "workerHosts/h", pid=2)
    await other.register()
    engine.clock.advance(30)
    second = await copied(other, "copy")
    await other.finish(second)
    lanes = tracing.named("lane")
    assert [span.context for span in lanes] == [
        read_traceparent(first.traceparent),
        read_traceparent(second.traceparent),
    ]
    assert len({span.context.span_id for span in lanes}) == 2


async def test_a_cancelled_run_s_phase_ends_once_and_its_undoing_has_spans() -> None:
    engine = Engine()
    tracing, host = traced(engine), PlayedHost(engine)
    await engine.declare({"sales": phase("orders")})
    name = await started(engine, host)
    await copied(host, "copy")
    await engine.runs.steer(name, DesiredState.CANCELLED, ME)
    await engine.hosts.forget("workerHosts/h")
    other = PlayedHost(engine, "workerHosts/h", pid=2)
    await other.register()
    await other.work()
    assert only(tracing.named("run")).attributes["pymigrate.state"] == "cancelled"
    assert len(tracing.named("phase")) == 1
    assert tracing.named("rollback")


async def test_a_run_whose_caller_wants_no_spans_has_none_and_its_hosts_are_told_so() -> None:
    engine = Engine()
    tracing, host = traced(engine), PlayedHost(engine)
    await engine.declare({"sales": phase("orders")})
    await started(engine, host, UNSAMPLED)
    task = await copied(host, "copy")
    assert task.traceparent.endswith("-00")
    await host.finish(task)
    await host.work()
    assert tracing.spans == []


async def test_a_run_of_no_trace_tells_its_hosts_of_none() -> None:
    engine = Engine()
    tracing, host = traced(engine), PlayedHost(engine)
    await engine.declare({"sales": phase("orders")})
    await started(engine, host, None)
    assert (await copied(host, "copy")).traceparent == ""
    assert tracing.spans == []


async def test_an_inspection_is_below_the_call_that_waits_for_it() -> None:
    engine = Engine()
    host = PlayedHost(engine)
    await engine.declare({"sales": phase("orders")})
    await host.register()
    with within(CALL):
        starting = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN), ME))
    task = None
    for _ in range(ROUNDS_MAX):
        if (task := await host.claim()) is not None:
            break
        await asyncio.sleep(0)
    assert task is not None
    assert task.traceparent == str(CALL)
    await host.finish(task)
    await starting


async def test_undoing_a_run_is_a_span_below_it() -> None:
    engine = Engine()
    tracing, host = traced(engine), PlayedHost(engine)
    await engine.declare({"sales": phase("orders")})
    name = await started(engine, host)
    await host.work()
    await engine.runs.roll_back(name, "", ME)
    engine.clock.advance(7)
    await host.work()
    undone = only(tracing.named("run rollback"))
    assert undone.parent == only(tracing.named("run")).context
    assert (undone.end - undone.start).total_seconds() == 7
    assert len(tracing.named("phase")) == 1
