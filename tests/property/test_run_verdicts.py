"""What custom resource Runs tell, whatever their engine has: truthful, within the rules of conditions, and small."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.entrypoints.operator.run_figures import dry_run_report
from pymigrate.engine.entrypoints.operator.run_steering import Situation, next_step
from pymigrate.engine.entrypoints.operator.run_verdicts import Trouble, camel_case, run_verdict
from pymigrate.v1 import custom_resource_pb2, run_pb2
from pymigrate.v1.shape import to_json_data
from tests.property.test_run_steering import PHASE_STATES, RUN_STATES, SPECS
from tests.unit.operator.declared_runs import HASH, NAME, OTHER_HASH

STATUS_BYTES_MAX = 16 * 1_024
# As apimachinery holds conditions to: https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#Condition
REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
TEXTS = st.one_of(
    st.text(max_size=40), st.sampled_from(["x" * 3_000, "€" * 2_000, '"' * 2_000, "\\\n" * 900, "🦆" * 900])
)
FAILURES = st.builds(run_pb2.Failure, reason=TEXTS, message=TEXTS, field=TEXTS, is_temporary=st.booleans())
COUNTS = st.builds(
    run_pb2.LaneCounts,
    **{name: st.sampled_from([0, 0, 1, 100_000_000]) for name in run_pb2.LaneCounts.DESCRIPTOR.fields_by_name},
)


@st.composite
def runs(draw: st.DrawFn) -> run_pb2.Run:
    """A run in any state, with texts of any length."""
    run = run_pb2.Run(
        name=NAME,
        state=draw(st.sampled_from(RUN_STATES)),
        desired_state=draw(st.sampled_from([value for value in run_pb2.DesiredState.values() if value])),
        plan_hash=HASH,
        lane_counts=draw(COUNTS),
        rows=draw(st.integers(0, 2**62)),
        rows_expected=draw(st.integers(-1, 2**62)),
        failure=draw(st.one_of(st.none(), FAILURES)),
        host_troubles=draw(st.lists(FAILURES, max_size=2)),
        waiting_for_plans=draw(st.lists(st.sampled_from(["p" * 63, "q"]), max_size=3)),
    )
    failure, state = draw(FAILURES), draw(st.sampled_from(PHASE_STATES))
    verified = draw(st.sampled_from([None, True, False]))
    for number in range(draw(st.sampled_from([0, 1, 40]))):
        phase = run.phases[f"{number:063}"]
        phase.state = state if number else draw(st.sampled_from(PHASE_STATES))
        phase.failure.CopyFrom(failure)
        phase.datasets["d"].rows = 1
        if verified is not None:
            phase.datasets["d"].verification.is_verified = verified
    return run


TROUBLES = st.one_of(st.none(), st.none(), st.builds(Trouble, TEXTS.map(camel_case), TEXTS, st.booleans()))
SITUATIONS = st.builds(
    Situation,
    SPECS,
    st.one_of(st.none(), runs(), runs()),
    st.sampled_from([None, HASH, OTHER_HASH]),
    is_checked=st.booleans(),
    problems=st.integers(0, 2),
    retry=st.integers(0, 2),
    is_deleted=st.sampled_from([False, False, True]),
    has_finalizer=st.booleans(),
)
REPORTS = st.lists(st.tuples(TEXTS, TEXTS), max_size=30).map(lambda found: dry_run_report(found, run_pb2.Run()))


@given(SITUATIONS, TROUBLES, REPORTS)
def test_what_is_told_is_truthful_within_the_rules_and_small(
    seen: Situation, trouble: Trouble | None, report: custom_resource_pb2.DryRunReport
) -> None:
    before = custom_resource_pb2.RunStatus(dry_run=report)
    verdict = run_verdict(before, seen, next_step(seen), trouble)
    found = {str(each.type): each for each in verdict.conditions}
    is_unknown = seen.run is None and trouble is not None and not trouble.needs_person
    assert found.keys() >= ({"Ready", "Reconciling"} if is_unknown else {"Ready", "Approved", "Verified"})
    assert all(found[kind].status == "True" for kind in {"Reconciling", "Stalled", "Suspended"} & found.keys())
    assert len(found) == len(verdict.conditions)
    on = {kind for kind, each in found.items() if each.status == "True"}
    assert len(on & {"Ready", "Reconciling", "Stalled"}) <= 1
    for each in found.values():
        assert REASON.fullmatch(each.reason)
        assert len(each.reason) <= 128
        assert len(each.message) <= 1_024
    if "Ready" in on:
        assert_succeeded(seen, trouble)
        assert "Verified" in on
    conditions = [[each.type, each.status, each.reason, each.message, "x" * 150] for each in verdict.conditions]
    data = json.dumps([to_json_data(verdict.status), conditions], ensure_ascii=False)
    assert len(data.encode()) < STATUS_BYTES_MAX


def assert_succeeded(seen: Situation, trouble: Trouble | None) -> None:
    """Everything that Ready says of a run."""
    run = seen.run
    assert run is not None
    assert trouble is None
    assert not seen.is_deleted
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED
    counts = run.lane_counts
    assert not any((counts.failed, counts.conflict, counts.stalled, counts.running, counts.pending))
    done = {run_pb2.PHASE_STATE_PUBLISHED, run_pb2.PHASE_STATE_SEALED}
    assert all(phase.state in done for phase in run.phases.values())
    datasets = [dataset for phase in run.phases.values() for dataset in phase.datasets.values()]
    assert all(dataset.verification.is_verified for dataset in datasets)
    assert (seen.spec.plan, dict(seen.spec.triggers), seen.spec.dry_run) == ("warehouse", {}, False)


@given(SITUATIONS)
def test_what_is_told_twice_is_told_the_same(seen: Situation) -> None:
    step = next_step(seen)
    once = run_verdict(custom_resource_pb2.RunStatus(), seen, step)
    assert isinstance(once.status, custom_resource_pb2.RunStatus)
    assert run_verdict(once.status, seen, step) == once
