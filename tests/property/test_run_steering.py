"""Steering by a custom resource Run, from any state, through any changes of what is declared: it comes to rest where it is declared to be,
starts one run at most, starts nothing that is not approved, and writes nothing in a dry run."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.entrypoints.operator.run_steering import (
    ENDED,
    UID_TRIGGER,
    ApproveGate,
    Call,
    Cancel,
    Check,
    DryRun,
    Nothing,
    Pause,
    Release,
    Resume,
    Retry,
    Rollback,
    Scale,
    Situation,
    Start,
    Step,
    Wait,
    changed_since,
    is_undoable,
    next_step,
)
from pymigrate.v1 import custom_resource_pb2, plan_pb2, run_pb2
from tests.unit.operator.declared_runs import HASH, NAME, OTHER_HASH

CALLS_MAX = 12
PASSES_MAX = 8
POLICIES = custom_resource_pb2.ApprovalPolicy.values()
DELETIONS = custom_resource_pb2.RunDeletionPolicy.values()
HASHES = st.sampled_from(["", HASH, OTHER_HASH])
SPECS = st.builds(
    custom_resource_pb2.RunSpec,
    plan=st.sampled_from(["warehouse", "warehouse", "warehouse", "other"]),
    triggers=st.sampled_from([{}, {}, {"day": "2"}]),
    suspend=st.booleans(),
    cancel=st.sampled_from([False, False, True]),
    rollback=st.sampled_from([False, False, True]),
    dry_run=st.sampled_from([False, False, True]),
    approval_policy=st.sampled_from(POLICIES),
    approved_plan_hash=HASHES,
    gate_approvals=st.lists(
        st.builds(
            custom_resource_pb2.GateApproval,
            phase=st.sampled_from(["", "sales", "stock", "none"]),
            gate=st.sampled_from(["sign_off", "environment", "none"]),
            plan_hash=HASHES,
        ),
        max_size=3,
    ),
    lanes=st.integers(0, 3),
    retry=st.integers(0, 2),
    deletion_policy=st.sampled_from(DELETIONS),
)
PHASE_STATES = [value for value in run_pb2.PhaseState.values() if value]
RUN_STATES = [value for value in run_pb2.RunState.values() if value]


@st.composite
def runs(draw: st.DrawFn) -> run_pb2.Run:
    """A run in any state with phases in any states, whether or not an engine would ever have such a one."""
    run = run_pb2.Run(
        name=NAME,
        state=draw(st.sampled_from(RUN_STATES)),
        desired_state=draw(st.sampled_from([value for value in run_pb2.DesiredState.values() if value])),
        plan_hash=draw(st.sampled_from([HASH, OTHER_HASH])),
        triggers={UID_TRIGGER: "u"},
        lanes_max=draw(st.integers(0, 3)),
    )
    for name in ("sales", "stock"):
        run.phases[name].state = draw(st.sampled_from(PHASE_STATES))
        for gate in sorted(draw(st.sets(st.sampled_from(["sign_off", "environment-1", "environment-2"])))):
            point = draw(st.sampled_from([plan_pb2.GATE_POINT_BEFORE_START, plan_pb2.GATE_POINT_BEFORE_PUBLICATION]))
            approver = draw(st.sampled_from(["", "somebody"]))
            run.phases[name].gates[gate].CopyFrom(run_pb2.GateRun(point=point, approver=approver))
    run.phases["stock"].dependencies.append("sales")
    return run


@dataclass
class ModelEngine:
    """What the engine does with each call, as far as steering goes. `is_blocking`: what is undone is not undone entirely."""

    run: run_pb2.Run | None = None
    plan_hash: str | None = HASH
    is_blocking: bool = False
    starts: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    is_checked: bool = False
    retry: int = 0
    refused: set[ApproveGate] = field(default_factory=set)

    def take(self, call: Call, spec: custom_resource_pb2.RunSpec) -> None:
        """Does what is asked, as the engine would."""
        self.calls.append(call)
        match call:
            case DryRun() | Check():
                self.is_checked = True
            case Start(plan_hash):
                assert plan_hash in {"", self.plan_hash}
                self.starts.append(plan_hash)
                self.run = run_pb2.Run(
                    name=NAME.replace("warehouse", spec.plan),
                    state=run_pb2.RUN_STATE_PENDING,
                    desired_state=run_pb2.DESIRED_STATE_RUNNING,
                    plan_hash=self.plan_hash or "",
                    triggers={**spec.triggers, UID_TRIGGER: "u"},
                )
                self.run.phases["sales"].state = run_pb2.PHASE_STATE_PENDING
                self.retry = spec.retry
            case _:
                assert self.run is not None
                self._steer(call, self.run, spec)

    def _steer(self, call: Call, run: run_pb2.Run, spec: custom_resource_pb2.RunSpec) -> None:
        is_ended = run.state in ENDED
        match call:
            case Pause():
                assert not is_ended
                run.desired_state, run.state = run_pb2.DESIRED_STATE_PAUSED, run_pb2.RUN_STATE_PAUSED
            case Resume():
                assert not is_ended
                run.desired_state, run.state = run_pb2.DESIRED_STATE_RUNNING, run_pb2.RUN_STATE_RUNNING
            case Cancel():
                assert not is_ended
                run.desired_state = run_pb2.DESIRED_STATE_CANCELLED
            case Retry():
                assert run.state == run_pb2.RUN_STATE_FAILED
                run.desired_state, run.state = run_pb2.DESIRED_STATE_RUNNING, run_pb2.RUN_STATE_RUNNING
                self.retry = spec.retry
            case Rollback():
                if not is_ended:
                    run.desired_state = run_pb2.DESIRED_STATE_CANCELLED
                else:
                    run.state = run_pb2.RUN_STATE_ROLLING_BACK
                self.retry = spec.retry
            case ApproveGate(phase, gate):
                names = [phase] if phase else list(run.phases)
                for name in names:
                    for known, found in run.phases[name].gates.items():
                        if known.startswith(gate) and not found.approver:
                            found.approver = "operator"
            case Scale(lanes):
                assert not is_ended
                run.lanes_max = lanes
            case _:
                raise AssertionError(f"{call} is no steering")

    def settle(self) -> None:
        """What is ending ends."""
        run = self.run
        if run is None:
            return
        is_undone = run.state == run_pb2.RUN_STATE_ROLLING_BACK
        if run.state not in ENDED and not is_undone and run.desired_state == run_pb2.DESIRED_STATE_CANCELLED:
            run.state = run_pb2.RUN_STATE_CANCELLED
        if run.state == run_pb2.RUN_STATE_ROLLING_BACK:
            blocked = self.is_blocking
            run.state = run_pb2.RUN_STATE_ROLLBACK_BLOCKED if blocked else run_pb2.RUN_STATE_ROLLED_BACK
            for phase in run.phases.values():
                if phase.state == run_pb2.PHASE_STATE_PUBLISHED and not blocked:
                    phase.state = run_pb2.PHASE_STATE_ROLLED_BACK

    def seen(
        self, spec: custom_resource_pb2.RunSpec, *, is_deleted: bool = False, has_finalizer: bool = False
    ) -> Situation:
        """As a pass would see it."""
        return Situation(
            spec,
            self.run,
            self.plan_hash,
            self.is_checked,
            retry=self.retry,
            lanes=spec.lanes,
            is_deleted=is_deleted,
            has_finalizer=has_finalizer,
            refused=frozenset(self.refused),
        )


def come_to_rest(
    engine: ModelEngine, spec: custom_resource_pb2.RunSpec, *, is_deleted: bool = False, has_finalizer: bool = False
) -> Step:
    """Passes until nothing is left to be done; what was said last."""
    for _ in range(PASSES_MAX):
        calls = len(engine.calls)
        for _ in range(CALLS_MAX):
            step = next_step(engine.seen(spec, is_deleted=is_deleted, has_finalizer=has_finalizer))
            if isinstance(step, Wait | Nothing | Release):
                break
            engine.take(step, spec)
        else:
            raise AssertionError(f"no end of calls: {engine.calls}")
        before = engine.run and engine.run.SerializeToString(deterministic=True)
        engine.settle()
        if len(engine.calls) == calls and before == (engine.run and engine.run.SerializeToString(deterministic=True)):
            return step
    raise AssertionError(f"it does not come to rest: {engine.calls}")


ENGINES = st.builds(
    ModelEngine,
    run=st.one_of(st.none(), runs()),
    plan_hash=st.sampled_from([None, HASH, OTHER_HASH]),
    is_blocking=st.booleans(),
    retry=st.integers(0, 2),
)


@given(ENGINES, SPECS)
def test_it_comes_to_rest_where_it_is_declared_to_be(engine: ModelEngine, spec: custom_resource_pb2.RunSpec) -> None:
    come_to_rest(engine, spec)
    run = engine.run
    if run is None or spec.dry_run:
        return
    if spec.rollback:
        assert run.state in ENDED
        assert engine.is_blocking or not is_undoable(run)
    elif spec.cancel:
        assert run.state in ENDED
    elif run.state not in ENDED and not changed_since(spec, run):
        assert (run.desired_state == run_pb2.DESIRED_STATE_PAUSED) == spec.suspend
        assert run.lanes_max == spec.lanes
    elif run.state not in ENDED:
        assert run.desired_state == run_pb2.DESIRED_STATE_PAUSED or not spec.suspend


@given(ENGINES, st.lists(st.tuples(SPECS, st.sampled_from([None, HASH, OTHER_HASH])), max_size=6))
def test_one_run_is_started_at_most_and_only_one_that_may(
    engine: ModelEngine, changes: list[tuple[custom_resource_pb2.RunSpec, str | None]]
) -> None:
    had_run = engine.run is not None
    for spec, plan_hash in changes:
        if plan_hash != engine.plan_hash:
            engine.plan_hash, engine.is_checked = plan_hash, False
        starts = len(engine.starts)
        come_to_rest(engine, spec)
        if len(engine.starts) > starts:
            assert not any((spec.suspend, spec.cancel, spec.rollback, spec.dry_run))
            is_manual = spec.approval_policy == custom_resource_pb2.APPROVAL_POLICY_MANUAL
            if is_manual or spec.approved_plan_hash:
                assert engine.starts[-1] == spec.approved_plan_hash == plan_hash
    assert len(engine.starts) <= (0 if had_run else 1)


@given(ENGINES, SPECS)
def test_a_dry_run_writes_nothing(engine: ModelEngine, spec: custom_resource_pb2.RunSpec) -> None:
    spec.dry_run = True
    come_to_rest(engine, spec)
    assert all(isinstance(call, DryRun) for call in engine.calls)


@given(ENGINES, SPECS)
def test_what_is_at_rest_stays_so_without_a_call(engine: ModelEngine, spec: custom_resource_pb2.RunSpec) -> None:
    come_to_rest(engine, spec)
    calls = len(engine.calls)
    come_to_rest(engine, spec)
    assert len(engine.calls) == calls


@given(ENGINES, SPECS)
def test_a_deleted_resource_goes_once_its_policy_is_done_or_waits_for_a_person(
    engine: ModelEngine, spec: custom_resource_pb2.RunSpec
) -> None:
    step = come_to_rest(engine, spec, is_deleted=True, has_finalizer=True)
    run = engine.run
    assert not engine.starts
    if spec.deletion_policy == custom_resource_pb2.RUN_DELETION_POLICY_ORPHAN:
        assert step == Release()
        assert not engine.calls
    elif isinstance(step, Wait):
        assert step.needs_person
        assert spec.deletion_policy == custom_resource_pb2.RUN_DELETION_POLICY_ROLLBACK
        assert run is not None
        assert run.state == run_pb2.RUN_STATE_ROLLBACK_BLOCKED
    else:
        assert step == Release()
        assert run is None or run.state in ENDED
        if run is not None and spec.deletion_policy == custom_resource_pb2.RUN_DELETION_POLICY_ROLLBACK:
            assert not is_undoable(run)


@given(ENGINES, SPECS)
def test_no_gate_is_approved_of_a_revision_that_nobody_looked_at(
    engine: ModelEngine, spec: custom_resource_pb2.RunSpec
) -> None:
    come_to_rest(engine, spec)
    for call in engine.calls:
        if isinstance(call, ApproveGate):
            assert engine.run is not None
            looked_at = {(each.phase, each.gate, each.plan_hash) for each in spec.gate_approvals}
            assert (call.phase, call.gate, engine.run.plan_hash) in looked_at
