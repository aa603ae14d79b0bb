"""An inherited object stays while a run of its environment uses it, or has published what can still be taken back."""

import pytest

from pymigrate.engine.application.inherited_runs import require_unused
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.run import PhaseRun, Run, RunAggregate
from pymigrate.engine.domain.run_states import PhaseState, RunState
from pymigrate.engine.testing.clock import START
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import run_pb2

PLAN = "environments/prod/plans/p"
USED = ["plans/p", "plans/p/phases/orders", "connections/legacy", "departments/sales"]
UNUSED = ["plans/q", "plans/p/phases/hr", "connections/other", "departments/hr", "stakeholders/ann", "alertRules/all"]


async def ran(state: RunState, phase: PhaseState, plan: str = PLAN) -> MemoryStore:
    """A store with a run whose only phase is in a state."""
    store = MemoryStore()
    revision = run_pb2.PlanRevision()
    revision.plan.phases["orders"].department = "sales"
    revision.connections["legacy"].sqlite.path = "/a.db"
    run = Run(name=f"{plan}/runs/r", plan=plan, key="k", plan_hash="h", create_time=START, managed_by="api")
    run.state = state
    aggregate = RunAggregate(run)
    aggregate.phases["orders"] = PhaseRun("orders", "sales", (), 0)
    aggregate.phases["orders"].state = phase
    await store.transact(lambda unit: unit.runs.insert(aggregate, revision.SerializeToString()))
    return store


async def refusal(store: MemoryStore, key: str) -> str:
    try:
        await store.read(lambda unit: require_unused(unit, "prod", key))
    except FailedPrecondition as error:
        return error.message
    return ""


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.RUNNING, RunState.PAUSED, RunState.ROLLING_BACK])
async def test_what_a_run_under_way_froze_stays(state: RunState) -> None:
    store = await ran(state, PhaseState.PENDING)
    for key in USED:
        said = await refusal(store, key)
        assert said == f"environments/prod/{key} is in use by {PLAN}/runs/r: wait for its end, or cancel it"
    assert [key for key in UNUSED if await refusal(store, key)] == []


async def test_what_can_still_be_taken_back_stays_and_what_is_sealed_goes() -> None:
    store = await ran(RunState.SUCCEEDED, PhaseState.PUBLISHED)
    for key in USED:
        assert "(phase orders): roll the run back, or seal it" in await refusal(store, key)
    assert [key for key in UNUSED if await refusal(store, key)] == []
    for phase in (PhaseState.SEALED, PhaseState.ROLLED_BACK, PhaseState.FAILED):
        store = await ran(RunState.SUCCEEDED, phase)
        assert [key for key in USED if await refusal(store, key)] == []


async def test_runs_of_another_environment_hold_nothing_here() -> None:
    store = await ran(RunState.RUNNING, PhaseState.PENDING, "environments/prod-2/plans/p")
    assert [key for key in USED if await refusal(store, key)] == []
