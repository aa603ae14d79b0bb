"""What a source's applied commit has to show for itself before it is promoted: its plans, and what became of their
runs, as the store holds it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pymigrate.engine.application.gitops.reversal_messages import is_open
from pymigrate.engine.application.gitops.revision_history import newest_stored
from pymigrate.engine.application.gitops.suspension import status_of
from pymigrate.engine.domain.held_data import held_run
from pymigrate.engine.domain.promotions import Candidate, CompletedRun, PromotedPlan, VerifiedDataset
from pymigrate.engine.domain.run import DatasetRun, RunAggregate
from pymigrate.engine.domain.run_keys import is_given_up
from pymigrate.engine.domain.run_states import PHASE_DONE
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import definition_pb2, git_source_pb2, plan_pb2, run_pb2

RUNS_MAX = 100
_LEVELS = (
    plan_pb2.VERIFICATION_LEVEL_NONE,
    plan_pb2.VERIFICATION_LEVEL_COUNT,
    plan_pb2.VERIFICATION_LEVEL_SAMPLED,
    plan_pb2.VERIFICATION_LEVEL_FULL,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a source has to show, and its plans as they are declared there, by their resource names."""

    candidate: Candidate
    plans: Mapping[str, definition_pb2.PlanChange]


def shown_by(unit: Unit, source: git_source_pb2.GitSource, commit: str) -> Shown:
    """What the source has to show for a commit; empty: for the one that is applied."""
    _, status = status_of(unit, source.uid)
    revision = newest_stored(unit, source.uid) or git_source_pb2.GitRevision()
    plans = {each.plan: each for each in revision.plans if each.plan_hash}
    candidate = Candidate(
        source=source.name,
        commit=commit or status.applied_commit,
        applied_commit=status.applied_commit,
        plans=[
            PromotedPlan(name, each.plan_hash, list(_runs_of(unit, name, each.plan_hash)))
            for name, each in sorted(plans.items())
        ],
        is_reversing=is_open(status.reversal),
        drift_count=sum(each.action != definition_pb2.CHANGE_ACTION_KEEP for each in status.drift),
    )
    return Shown(candidate, plans)


def _runs_of(unit: Unit, plan: str, plan_hash: str) -> Iterator[CompletedRun]:
    """The runs of a plan, the newest first, down to the first one of this hash. Those that Git has undone count no
    more, but where they were of this hash."""
    for run in unit.runs.list(plan, None, RUNS_MAX):
        aggregate = unit.runs.load(run.name)
        if aggregate is None or (is_given_up(run) and run.plan_hash != plan_hash):
            continue
        yield _completed(unit, aggregate)
        if run.plan_hash == plan_hash:
            return


def _completed(unit: Unit, aggregate: RunAggregate) -> CompletedRun:
    run = aggregate.run
    revision = run_pb2.PlanRevision.FromString(unit.runs.revision(run.name) or b"")
    return CompletedRun(
        name=run.name,
        plan_hash=run.plan_hash,
        state=run.state,
        holds=all(phase.state in PHASE_DONE for phase in aggregate.phases.values()),
        held_phases=len(held_run(aggregate).phases),
        datasets=tuple(
            VerifiedDataset(f"{phase}/{name}", _is_verified(dataset, revision.plan.phases[phase].datasets[name]))
            for (phase, name), dataset in sorted(aggregate.datasets.items())
        ),
    )


def _is_verified(dataset: DatasetRun, declared: plan_pb2.Dataset) -> bool:
    """Whether what the plan asks to compare was compared, and is equal."""
    if not dataset.verification:
        return False
    found = run_pb2.Verification.FromString(dataset.verification)
    asked = declared.verification or plan_pb2.VERIFICATION_LEVEL_SAMPLED
    level = found.level or asked  # a host that says nothing compared what it was asked for
    return found.is_verified and _LEVELS.index(level) >= _LEVELS.index(asked)
