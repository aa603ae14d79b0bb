"""Whether what runs in one environment may go to the next: what was applied there has run, everything was verified as it was asked for, and
nothing was undone. Every reason against it is told at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pymigrate.engine.domain.run_states import RUN_ENDED, RunState


@dataclass(frozen=True, slots=True)
class VerifiedDataset:
    """A dataset of a run: whether everything that its plan asks to compare was compared, and is equal. `name` is `phase/dataset`."""

    name: str
    is_verified: bool


@dataclass(frozen=True, slots=True)
class CompletedRun:
    """A run of a plan. `holds`: its data is in its targets, all of it; `held_phases`: those of its phases whose data is."""

    name: str
    plan_hash: str
    state: RunState
    holds: bool
    held_phases: int = 0
    datasets: tuple[VerifiedDataset, ...] = ()


@dataclass(frozen=True, slots=True)
class PromotedPlan:
    """A plan of the commit: its hash in the source before, and its runs there, the newest first."""

    name: str
    plan_hash: str
    runs: Sequence[CompletedRun]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A commit of the source before. `commit` is what is asked for, `applied_commit` what is applied there; `is_reversing`: runs are
    being undone there, or wait to be; `drift_count`: objects that are not what the commit says."""

    source: str
    commit: str
    applied_commit: str
    plans: Sequence[PromotedPlan]
    is_reversing: bool = False
    drift_count: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why it may not be promoted: a word in capitals, and the same in words, with what to do."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every reason against it, and with none the run of each plan that it may be promoted for, by the plan's resource name."""

    refusals: tuple[Refusal, ...]
    runs: Mapping[str, str]

    @property
    def is_allowed(self) -> bool:
        """Whether nothing is against it."""
        return not self.refusals


def verdict_of(candidate: Candidate) -> Verdict:
    """Whether a commit may be promoted."""
    refusals = list(_source_refusals(candidate))
    runs = {}
    for plan in candidate.plans:
        found = list(_plan_refusals(plan))
        refusals += found
        if not found:
            runs[plan.name] = next(run.name for run in plan.runs if run.plan_hash == plan.plan_hash)
    return Verdict(tuple(refusals), runs)


def declared_refusals(plans: Mapping[str, tuple[str, str]]) -> Iterator[Refusal]:
    """Plans that would not be the same in both: of each, by its last segment, the declared hash before and the one
    that is pushed; empty where it is not there."""
    for plan, (before, after) in sorted(plans.items()):
        if before == after:
            continue
        if not after:
            said = (
                f"plan `{plan}` would not be there: it would have to be declared in the source that it is promoted to"
            )
        elif not before:
            said = f"plan `{plan}` is not declared in the source before: nothing has shown that it works"
        else:
            said = f"plan `{plan}` would not be the one that has run before: its phases are declared otherwise"
        yield Refusal("HASH_DIFFERS", said)


def _source_refusals(candidate: Candidate) -> Iterator[Refusal]:
    source = candidate.source
    if not candidate.applied_commit:
        yield Refusal("NOT_APPLIED", f"{source} has not applied anything yet: sync it, and run its plans")
        return
    if candidate.commit != candidate.applied_commit:
        yield Refusal(
            "NOT_APPLIED",
            f"{candidate.commit[:12]} is not what is applied in {source}, which is {candidate.applied_commit[:12]}: promote that one, or"
            " apply the other there first",
        )
    if candidate.is_reversing:
        yield Refusal("REVERSING", f"{source} is going back to an earlier revision: wait until it is there")
    if candidate.drift_count:
        yield Refusal(
            "DRIFTED",
            f"{candidate.drift_count} objects of {source} are not what its commit says: what has run may be"
            f" something else; sync it, and run"
            " what changes",
        )
    if not candidate.plans:
        yield Refusal("NO_PLAN", f"{source} declares no plan: nothing of it has run")


def _plan_refusals(plan: PromotedPlan) -> Iterator[Refusal]:
    own = [run for run in plan.runs if run.plan_hash == plan.plan_hash]
    if not own:
        yield Refusal(
            "NO_RUN", f"{plan.name} has no run of the hash {plan.plan_hash[:12]}: start one, and wait until it succeeds"
        )
        return
    newest = own[0]
    if newest.state is RunState.ROLLED_BACK:
        yield Refusal("UNDONE", f"{newest.name} was undone: start another run, and wait until it succeeds")
    elif newest.state not in RUN_ENDED:
        yield Refusal("NOT_SUCCEEDED", f"{newest.name} is {newest.state}: wait until it succeeds")
    elif newest.state is not RunState.SUCCEEDED:
        yield Refusal("NOT_SUCCEEDED", f"{newest.name} is {newest.state}: mend what keeps it, and let it succeed")
    elif not newest.holds:
        yield Refusal("UNDONE", f"something that {newest.name} published was undone: start another run")
    else:
        for dataset in newest.datasets:
            if not dataset.is_verified:
                yield Refusal(
                    "NOT_VERIFIED",
                    f"dataset {dataset.name} of {newest.name} was not verified as it was asked for: ask its"
                    f" plan for a verification, and run it"
                    " again",
                )
    for later in plan.runs[: plan.runs.index(newest)]:
        if later.state not in RUN_ENDED or later.held_phases or later.state is RunState.FAILED:
            yield Refusal(
                "SUPERSEDED",
                f"{later.name}, a run of another revision of {plan.name}, came after {newest.name} and is {later.state}: what is in the"
                " targets is not what the commit says",
            )
