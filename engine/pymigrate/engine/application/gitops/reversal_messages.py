"""What is undone for a commit, as the contract tells it: the runs with their phases and rows, and where it stands, in words."""

from collections.abc import Collection, Sequence

from pymigrate.engine.application.gitops.conditions import ConditionType, Findings
from pymigrate.engine.domain.held_data import HeldRun
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.reversals import NextStep, Rewind, Step
from pymigrate.v1 import git_source_pb2

PLANNED = git_source_pb2.REVERSAL_STATE_PLANNED
AWAITING_APPROVAL = git_source_pb2.REVERSAL_STATE_AWAITING_APPROVAL
ROLLING_BACK = git_source_pb2.REVERSAL_STATE_ROLLING_BACK
DONE = git_source_pb2.REVERSAL_STATE_DONE
BLOCKED = git_source_pb2.REVERSAL_STATE_BLOCKED
REPORTED = git_source_pb2.REVERSAL_STATE_REPORTED
FOLLOWERS_TOLD_MAX = 10


def run_messages(runs: Sequence[HeldRun], asked: Collection[str] = ()) -> list[git_source_pb2.ReversedRun]:
    """Runs in the order in which they are undone."""
    return [
        git_source_pb2.ReversedRun(
            run=run.name,
            plan_hash=run.plan_hash,
            state=str(run.state),
            phases=[phase.id for phase in run.phases],
            rows=run.rows,
            sealed_phases=[phase.id for phase in run.phases if phase.stuck],
            is_asked=run.name in asked,
            is_undone=not run.holds,
        )
        for run in runs
    ]


def asked_of(reversal: git_source_pb2.Reversal) -> set[str]:
    """The runs that were asked to be undone already."""
    return {each.run for each in reversal.runs if each.is_asked}


def has_begun(reversal: git_source_pb2.Reversal) -> bool:
    """Whether anything was undone, or may have been, so that it goes to its end whatever is committed meanwhile."""
    return reversal.state == ROLLING_BACK or bool(asked_of(reversal))


def is_open(reversal: git_source_pb2.Reversal) -> bool:
    """Whether it is still to be brought to its end."""
    return reversal.state in (AWAITING_APPROVAL, ROLLING_BACK, BLOCKED)


def how_it_stands(reversal: git_source_pb2.Reversal) -> str:
    """Where it stands, and what a person must do where one must."""
    commit, count = reversal.commit[:12], len(reversal.runs)
    what = f"{count:,} {'run' if count == 1 else 'runs'}"
    holding = f"{what} that {'holds' if count == 1 else 'hold'} data"
    are, were = ("is", "was") if count == 1 else ("are", "were")
    match reversal.state:
        case git_source_pb2.REVERSAL_STATE_AWAITING_APPROVAL:
            more = reversal.approvals_min - len(reversal.approved_by)
            approved = "it is" if count == 1 else "they are"
            return (
                f"commit {commit} goes back behind {holding}: {more:,} more must approve that {approved} undone"
                " (ApproveReversal), or another commit take its place"
            )
        case git_source_pb2.REVERSAL_STATE_ROLLING_BACK:
            left = [last_segment(each.run) for each in reversal.runs if not each.is_undone]
            return f"{what} {are} being undone for commit {commit}, still to come: {', '.join(left[:10]) or 'none'}"
        case git_source_pb2.REVERSAL_STATE_DONE:
            return f"{what} {were} undone for commit {commit}"
        case git_source_pb2.REVERSAL_STATE_REPORTED:
            return (
                f"commit {commit} goes back behind {holding}, which the environment's policy leaves where it is: roll the"
                " runs back, or run the plans again"
            )
        case git_source_pb2.REVERSAL_STATE_PLANNED:
            asks = f", after {reversal.approvals_min:,} have approved it" if reversal.approvals_min else ""
            return f"{what} would be undone for commit {commit}{asks}"
        case _:
            return reversal.message


def when_blocked(commit: str, why: str, undone: Sequence[str]) -> str:
    """Why it does not go on, what was done until then, and what a person can do."""
    done = f" {', '.join(last_segment(each) for each in undone)} stays undone." if undone else " Nothing was touched."
    return (
        f"commit {commit[:12]} can't be gone back to: {why}.{done} The definitions stay as they are. Mend what keeps it and call"
        " RollbackRun, with which this goes on; or commit something else; or let the environment's revert_policy be `report`"
    )


def settle(reversal: git_source_pb2.Reversal, step: NextStep, *, is_begun: bool) -> None:
    """Where a reversal stands, given what is to be done next."""
    if step.step is Step.BLOCKED:
        undone = [each.run for each in reversal.runs if each.is_undone]
        reversal.state = BLOCKED
        reversal.message = when_blocked(reversal.commit, step.message, undone)
        return
    is_approved = is_begun or len(reversal.approved_by) >= reversal.approvals_min
    reversal.state = ROLLING_BACK if is_approved else AWAITING_APPROVAL
    reversal.message = how_it_stands(reversal)


def tell_reversal(findings: Findings, reversal: git_source_pb2.Reversal) -> None:
    """What the condition `Reversed` says."""
    word = git_source_pb2.ReversalState.Name(reversal.state).removeprefix("REVERSAL_STATE_")
    if reversal.state in (DONE, REPORTED):
        findings.meet(ConditionType.REVERSED, word, reversal.message)
    else:
        findings.miss(ConditionType.REVERSED, word, reversal.message)


def planned(reversal: git_source_pb2.Reversal, known: git_source_pb2.Reversal) -> git_source_pb2.Reversal:
    """What would be undone, as who only looks is told; as it stands where it is under way."""
    told = git_source_pb2.Reversal()
    told.CopyFrom(reversal)
    if reversal.commit != known.commit and reversal.state in (AWAITING_APPROVAL, ROLLING_BACK):
        told.state = PLANNED
        told.message = how_it_stands(told)
    return told


def told_followers(rewind: Rewind) -> str:
    """That plans stay as they are which have read what is undone; empty where none has."""
    if not rewind.followers:
        return ""
    named = ", ".join(rewind.followers[:FOLLOWERS_TOLD_MAX])
    return f"; not undone are {named}, which depend on what is, and have run since: look whether they are to run again"


def told_left_alone(count: int) -> str:
    """That runs are not undone, as the policy of their environment says so; empty for none."""
    return f"; left as they are, by the policy of their environments: {count:,}" if count else ""
