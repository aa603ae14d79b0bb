"""Policies of environments: who may run and approve, how many must, what is compared at least, when phases start, and how many lanes."""

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.application.policies import policy_of
from pymigrate.engine.application.run_estimates import read_estimates
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, NotFound, NotPermitted
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.engine.testing.clock import START
from pymigrate.v1 import environment_pb2, plan_pb2, run_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase

RUN = f"{PLAN}/runs/r"
ANN, BOB, CY = Caller("ann"), Caller("bob"), Caller("cy")
Policy = environment_pb2.EnvironmentPolicy


async def governed(
    engine: Engine,
    policy: Policy,
    *,
    bases: dict[str, Policy] | None = None,
    phases: dict[str, plan_pb2.Phase] | None = None,
) -> PlayedHost:
    """A plan of two phases, the second of which needs the first, or of these, in an environment with this policy and bases that have
    theirs."""
    await engine.declare(phases or {"a": phase("orders"), "b": phase("items", needs=["a"])})

    def work(unit):  # type: ignore[no-untyped-def]  # a unit of work
        for name, said in (bases or {}).items():
            base = environment_pb2.Environment(policy=said, is_template=True)
            engine.catalog.create(unit, ENVIRONMENTS, "", name, base, ME)
        own = environment_pb2.Environment(name=ENVIRONMENT, policy=policy, bases=list(bases or {}))
        engine.catalog.update(unit, ENVIRONMENTS, own, FieldMask(), ME)

    await engine.store.transact(work)
    host = PlayedHost(engine)
    await host.register()
    return host


async def started(engine: Engine, host: PlayedHost, caller: Caller = ME) -> run_pb2.Run:
    """The run, begun while the host answers what is asked before."""
    request = run_pb2.StartRunRequest(parent=PLAN, run_id="r")
    run = asyncio.create_task(engine.runs.start(request, caller))
    while not run.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    return await run


async def test_what_a_later_layer_says_of_a_policy_holds_field_by_field(engine: Engine) -> None:
    await governed(
        engine,
        Policy(approvals_min=1),
        bases={
            "company": Policy(approvals_min=3, runners=["ops-*"], lanes_max=9),
            "region": Policy(
                runners=["ops-eu"],
                verification_level_min=plan_pb2.VERIFICATION_LEVEL_FULL,
                revert_policy=environment_pb2.REVERT_POLICY_APPROVE,
            ),
        },
    )
    found = await engine.store.read(lambda unit: policy_of(unit, ENVIRONMENT))
    assert found == Policy(
        approvals_min=1,
        runners=["ops-eu"],
        lanes_max=9,
        verification_level_min=plan_pb2.VERIFICATION_LEVEL_FULL,
        revert_policy=environment_pb2.REVERT_POLICY_APPROVE,
    )


async def test_who_is_no_runner_neither_starts_nor_resumes_nor_retries_nor_scales(engine: Engine) -> None:
    host = await governed(engine, Policy(runners=["an*"]))
    with pytest.raises(
        NotPermitted, match=r"bob may not run anything in environments/e: its policy names who may, as `policy.runners`"
    ):
        await started(engine, host, BOB)
    await started(engine, host, ANN)
    await engine.runs.steer(RUN, DesiredState.PAUSED, BOB)
    with pytest.raises(NotPermitted):
        await engine.runs.steer(RUN, DesiredState.RUNNING, BOB)
    with pytest.raises(NotPermitted):
        await engine.runs.retry(RUN, BOB)
    with pytest.raises(NotPermitted):
        await engine.runs.scale(RUN, 1, BOB)
    assert (await engine.runs.steer(RUN, DesiredState.RUNNING, ANN)).desired_state == run_pb2.DESIRED_STATE_RUNNING


async def test_nothing_starts_before_as_many_others_have_approved_as_the_policy_asks_for(engine: Engine) -> None:
    host = await governed(engine, Policy(approvals_min=2))
    run = await started(engine, host, ANN)
    assert {name: sorted(each.gates) for name, each in run.phases.items()} == {
        "a": ["environment-1", "environment-2"],
        "b": [],
    }
    await engine.runs.approve(RUN, "", "environment", BOB)
    await engine.runs.approve(RUN, "", "environment", BOB)
    assert await host.claim() is None
    approved = await engine.runs.approve(RUN, "", "environment", CY)
    assert {name: gate.approver for name, gate in approved.phases["a"].gates.items()} == {
        "environment-1": "bob",
        "environment-2": "cy",
    }
    assert await host.claim() is not None


async def test_who_started_a_run_does_not_approve_it(engine: Engine) -> None:
    host = await governed(engine, Policy(approvals_min=1))
    await started(engine, host, ANN)
    with pytest.raises(NotPermitted, match=r"ann started .*: somebody else must approve it"):
        await engine.runs.approve(RUN, "a", "environment-1", ANN)


async def test_an_operator_whose_token_was_renewed_does_not_approve_what_it_started(engine: Engine) -> None:
    host = await governed(engine, Policy(approvals_min=1))
    await started(engine, host, Caller("local/a", "kubernetes"))
    with pytest.raises(NotPermitted, match=r"the operator started .*: somebody else must approve it"):
        await engine.runs.approve(RUN, "", "environment", Caller("local/b", "kubernetes"))
    approved = await engine.runs.approve(RUN, "", "environment", Caller("local/b", "cli"))
    assert approved.phases["a"].gates["environment-1"].approver == "local/b"


async def test_approvals_at_the_same_moment_all_count(engine: Engine) -> None:
    host = await governed(engine, Policy(approvals_min=2))
    await started(engine, host, ANN)
    approvals = (engine.runs.approve(RUN, "", "environment", each) for each in (BOB, CY))
    await asyncio.gather(engine.runs.steer(RUN, DesiredState.PAUSED, ME), *approvals)
    gates = (await engine.runs.get(RUN)).phases["a"].gates
    assert sorted(gate.approver for gate in gates.values()) == ["bob", "cy"]


async def test_what_failed_is_done_again_under_the_approvals_that_it_had(engine: Engine) -> None:
    host = await governed(engine, Policy(approvals_min=1))
    await started(engine, host, ANN)
    await engine.runs.approve(RUN, "", "environment", BOB)
    task = await host.claim()
    assert task is not None
    await host.finish(task, run_pb2.Failure(reason="SOURCE_MISSING", message="it is gone"))
    await host.work()
    assert (await engine.runs.get(RUN)).state == run_pb2.RUN_STATE_FAILED
    retried = asyncio.create_task(engine.runs.retry(RUN, ANN))
    while not retried.done():
        if asked := await host.claim():
            await host.finish(asked)
        await asyncio.sleep(0)
    assert (await retried).phases["a"].gates["environment-1"].approver == "bob"
    assert await host.claim() is not None


@pytest.mark.parametrize("gate", ["environment", "environment-1", "environment-check"])
async def test_where_a_policy_asks_for_no_approval_a_phases_gate_may_have_any_name(engine: Engine, gate: str) -> None:
    gated = phase("orders")
    gated.gates[gate].point = plan_pb2.GATE_POINT_BEFORE_START
    host = await governed(engine, Policy(), phases={"a": gated})
    await started(engine, host, ANN)
    with pytest.raises(NotFound, match="asks for no approval of"):
        await engine.runs.approve(RUN, "", "environment", ANN)
    approved = await engine.runs.approve(RUN, "a", gate, ANN)
    assert approved.phases["a"].gates[gate].approver == "ann"


async def test_a_gate_with_a_name_of_the_policys_is_refused_where_approvals_are_asked_for(engine: Engine) -> None:
    gated = phase("orders")
    for gate in ("environment-1", "environment-check"):
        gated.gates[gate].point = plan_pb2.GATE_POINT_BEFORE_START
    host = await governed(engine, Policy(approvals_min=1), phases={"a": gated})
    with pytest.raises(InvalidDefinition) as refused:
        await started(engine, host, ANN)
    assert [each.field for each in refused.value.problems] == ["phases.a.gates.environment-1"]


async def test_a_star_alone_stands_for_other_characters(engine: Engine) -> None:
    host = await governed(engine, Policy(runners=["team[ab]", "o?s-*"]))
    for stranger in ("teama", "ops-eu"):
        with pytest.raises(NotPermitted):
            await started(engine, host, Caller(stranger))
    await started(engine, host, Caller("o?s-eu"))


async def test_who_is_no_approver_opens_no_gate(engine: Engine) -> None:
    host = await governed(engine, Policy(approvals_min=1, approvers=["cy"]))
    await started(engine, host, ANN)
    with pytest.raises(NotPermitted, match="bob may not approve in environments/e"):
        await engine.runs.approve(RUN, "", "environment", BOB)
    await engine.runs.approve(RUN, "", "environment", CY)
    assert await host.claim() is not None


async def test_an_approval_that_nothing_asks_for_or_that_is_one_too_many_is_told_as_such(engine: Engine) -> None:
    host = await governed(engine, Policy(approvals_min=1))
    await started(engine, host, ANN)
    with pytest.raises(NotFound, match="asks for no approval of phase `b`"):
        await engine.runs.approve(RUN, "b", "environment", BOB)
    await engine.runs.approve(RUN, "", "environment", BOB)
    with pytest.raises(FailedPrecondition, match="has all the approvals that it needs"):
        await engine.runs.approve(RUN, "", "environment", CY)


async def test_a_plan_that_compares_less_than_is_demanded_is_not_started(engine: Engine) -> None:
    host = await governed(engine, Policy(verification_level_min=plan_pb2.VERIFICATION_LEVEL_FULL))
    with pytest.raises(InvalidDefinition) as refused:
        await started(engine, host)
    assert [(each.field, each.description) for each in refused.value.problems] == [
        (
            f"phases.{name}.datasets.{dataset}.verification",
            "compares `sampled`, and the policy of environments/e demands `full` at least",
        )
        for name, dataset in (("a", "orders"), ("b", "items"))
    ]


async def test_outside_the_environments_windows_nothing_starts(engine: Engine) -> None:
    closed = plan_pb2.Schedule(blackouts={"close": plan_pb2.Blackout(start="2000-01-01", end="2100-01-01")})
    host = await governed(engine, Policy(schedule=closed))
    await started(engine, host)
    assert START.year < 2100
    assert await host.claim() is None
    limits = await engine.limits.current()
    assert len(limits.calendars_of(PLAN, "a")) == 1


async def test_the_policys_lanes_count_where_the_environment_itself_says_nothing(engine: Engine) -> None:
    host = await governed(engine, Policy(lanes_max=3))
    await started(engine, host)
    assert (await engine.limits.current()).environments == {ENVIRONMENT: 3}
    revision = await engine.board.revision(RUN)
    assert (await engine.store.read(lambda unit: read_estimates(unit, revision)))[1] == 3


async def test_problems_of_a_policy_are_told_together(engine: Engine) -> None:
    wrong = Policy(
        approvals_min=11,
        lanes_max=-1,
        runners=[""],
        approvers=["${team}"],
        schedule=plan_pb2.Schedule(time_zone="Mars/Base"),
    )
    with pytest.raises(InvalidDefinition) as refused:
        await governed(engine, wrong)
    assert {each.field for each in refused.value.problems} == {
        "environment.policy.approvals_min",
        "environment.policy.approvers",
        "environment.policy.lanes_max",
        "environment.policy.runners",
        "environment.policy.schedule.time_zone",
    }
