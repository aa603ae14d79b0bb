"""Attack: somebody changes what a run does and approves it. `policy.authors_excluded` has somebody else approve."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.kinds import CONNECTIONS, ENVIRONMENTS, PHASES, PLANS
from pymigrate.engine.domain.errors import NotPermitted
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import plan_pb2, run_pb2
from tests.unit.application.engines import ENVIRONMENT, PLAN, Engine, PlayedHost, phase
from tests.unit.application.test_policies import ANN, BOB, Policy, governed, started

RUN = f"{PLAN}/runs/r"
EXCLUDED = Policy(approvals_min=1, authors_excluded=True)
OPERATOR = Caller("operator")
Write = Callable[[Engine, Unit, Caller], Any]


def gated() -> dict[str, plan_pb2.Phase]:
    """Two phases, the first with a gate of its own."""
    first = phase("orders")
    first.gates["go"].point = plan_pb2.GATE_POINT_BEFORE_START
    return {"a": first, "b": phase("items", needs=["a"])}


def changed(kind: Any, name: str, **fields: Any) -> Write:
    """Changes a stored object."""

    def write(engine: Engine, unit: Unit, caller: Caller) -> None:
        message = engine.catalog.get(unit, kind, name)
        for field, value in fields.items():
            setattr(message, field, value)
        engine.catalog.update(unit, kind, message, FieldMask(), caller)

    return write


def without_phase(engine: Engine, unit: Unit, caller: Caller) -> None:
    """Deletes one."""
    engine.catalog.delete(unit, PHASES, f"{PLAN}/phases/b", "", caller)


WRITES: dict[str, Write] = {
    "the plan": changed(PLANS, PLAN, description="another"),
    "a phase": changed(PHASES, f"{PLAN}/phases/b", priority=7),
    "a phase that is gone": without_phase,
    "a connection": changed(CONNECTIONS, f"{ENVIRONMENT}/connections/legacy", description="another"),
    "the environment": changed(ENVIRONMENTS, ENVIRONMENT, description="another"),
    "a base of it": changed(ENVIRONMENTS, "environments/company", description="another"),
}


@pytest.fixture
async def engine() -> Engine:
    return Engine()


async def succeeded(engine: Engine, policy: Policy = EXCLUDED) -> PlayedHost:
    """A plan whose run `r` has succeeded, approved by somebody who has written nothing of it."""
    host = await governed(engine, Policy(), bases={"company": policy}, phases=gated())
    engine.clock.advance(1)
    await started(engine, host, OPERATOR)
    for gate in ("environment", "go"):
        await engine.runs.approve(RUN, "" if gate == "environment" else "a", gate, BOB)
    await host.work()
    assert (await engine.runs.get(RUN)).state == run_pb2.RUN_STATE_SUCCEEDED
    engine.clock.advance(60)
    return host


async def again(engine: Engine, host: PlayedHost) -> str:
    """Another run of the plan, which waits for its approvals."""
    request = run_pb2.StartRunRequest(parent=PLAN, run_id="again", run=run_pb2.Run(triggers={"again": "1"}))
    return await _answered(engine, host, request)


async def _answered(engine: Engine, host: PlayedHost, request: run_pb2.StartRunRequest) -> str:
    run = asyncio.create_task(engine.runs.start(request, OPERATOR))
    while not run.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    return (await run).name


@pytest.mark.parametrize(("phase_id", "gate"), [("", "environment"), ("a", "environment-1"), ("a", "go")])
async def test_who_has_written_a_plan_opens_no_gate_of_its_run(engine: Engine, phase_id: str, gate: str) -> None:
    host = await governed(engine, EXCLUDED, phases=gated())
    await started(engine, host, OPERATOR)
    with pytest.raises(NotPermitted, match="has written something"):
        await engine.runs.approve(RUN, phase_id, gate, Caller("me"))
    approved = await engine.runs.approve(RUN, phase_id, gate, BOB)
    assert [each.approver for each in approved.phases["a"].gates.values() if each.approver] == ["bob"]


@pytest.mark.parametrize("what", WRITES)
async def test_nor_does_who_has_changed_anything_of_it_since_a_run_succeeded(engine: Engine, what: str) -> None:
    host = await succeeded(engine)
    await engine.store.transact(lambda unit: WRITES[what](engine, unit, ANN))
    name = await again(engine, host)
    with pytest.raises(NotPermitted, match="ann has written something"):
        await engine.runs.approve(name, "a", "go", ANN)
    assert (await engine.runs.approve(name, "a", "go", BOB)).phases["a"].gates["go"].approver == "bob"


async def test_what_ran_well_since_it_was_written_is_no_matter_any_more(engine: Engine) -> None:
    host = await succeeded(engine)
    name = await again(engine, host)
    approved = await engine.runs.approve(name, "a", "go", Caller("me"))
    assert approved.phases["a"].gates["go"].approver == "me"


async def test_what_is_written_while_a_run_begins_counts_for_the_next(engine: Engine) -> None:
    host = await governed(engine, EXCLUDED, phases=gated())
    request = run_pb2.StartRunRequest(parent=PLAN, run_id="r")
    run = asyncio.create_task(engine.runs.start(request, OPERATOR))
    task = None
    while task is None:  # it is frozen by now, and its sources are looked at
        await asyncio.sleep(0)
        task = await host.claim()
    engine.clock.advance(1)
    await engine.store.transact(lambda unit: WRITES["the plan"](engine, unit, ANN))
    engine.clock.advance(1)
    await host.finish(task)
    while not run.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    await engine.runs.approve(RUN, "", "environment", BOB)
    await engine.runs.approve(RUN, "a", "go", ANN)
    await host.work()
    name = await again(engine, host)
    with pytest.raises(NotPermitted, match="ann has written something"):
        await engine.runs.approve(name, "a", "go", ANN)


@pytest.mark.parametrize("author", ["local", "local/0123"])
@pytest.mark.parametrize("approver", ["local", "local/4567"])
async def test_whoever_has_the_engine_s_token_is_one_person_by_whatever_token(
    engine: Engine, author: str, approver: str
) -> None:
    host = await succeeded(engine)
    await engine.store.transact(lambda unit: WRITES["a phase"](engine, unit, Caller(author)))
    name = await again(engine, host)
    with pytest.raises(NotPermitted, match="has written something"):
        await engine.runs.approve(name, "a", "go", Caller(approver))


async def test_without_the_policy_authors_approve(engine: Engine) -> None:
    host = await governed(engine, Policy(approvals_min=1), phases=gated())
    await started(engine, host, OPERATOR)
    approved = await engine.runs.approve(RUN, "a", "go", Caller("me"))
    assert approved.phases["a"].gates["go"].approver == "me"
