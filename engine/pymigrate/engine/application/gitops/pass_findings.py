"""How what a pass finds is worded: in conditions, in drift, and in the revision that comes of a commit."""

from datetime import datetime

from pymigrate.engine.application.gitops.applying import Applied
from pymigrate.engine.application.gitops.conditions import ConditionType
from pymigrate.engine.application.gitops.definition import DefinitionsRead
from pymigrate.engine.application.gitops.pass_drafts import CHANGES_MAX, Draft, Looked, counted, revision_of
from pymigrate.engine.application.gitops.readable import readable_line
from pymigrate.engine.application.gitops.source_reading import Target
from pymigrate.v1 import definition_pb2, git_source_pb2


def fresh_draft(looked: Looked, target: Target, read: DefinitionsRead, now: datetime) -> Draft:
    """What a pass has found when it comes to apply a commit."""
    draft = Draft(looked, now)
    draft.findings.meet(ConditionType.AVAILABLE, "FETCHED", "the repository answers, and what it says is here")
    if looked.source.HasField("signatures"):
        said = f"commit {target.sha} is signed by {target.signer}"
        draft.findings.meet(ConditionType.VERIFIED, "SIGNED", said)
    else:
        draft.findings.meet(ConditionType.VERIFIED, "NOT_DEMANDED", "no signatures are demanded")
    draft.see(target.sha)
    draft.status.skipped_count = read.skipped_count
    return draft


def meet_applied(draft: Draft, target: Target) -> None:
    """The commit is applied already."""
    draft.findings.meet(ConditionType.VALID, "VALID", f"everything that commit {target.sha} declares is sound")
    if not any(c.type == ConditionType.APPLIED and c.is_met for c in draft.looked.status.conditions):
        draft.findings.meet(ConditionType.APPLIED, "APPLIED", f"commit {target.sha} is applied")


def tell_kept(draft: Draft, staged: Applied) -> None:
    """What is stored is what the commit says, but for what is declared no longer and kept."""
    kept = [each for each in staged.changes if each.action == definition_pb2.CHANGE_ACTION_KEEP]
    draft.tell_drift(kept)
    if kept:
        said = f"{len(kept):,} objects are declared no longer and kept: {kept[0].name}: {kept[0].reason}"
        draft.findings.meet(ConditionType.IN_SYNC, "KEPT", said)
    else:
        draft.findings.meet(ConditionType.IN_SYNC, "IN_SYNC", "nobody else has changed what is declared here")


def miss_sync(draft: Draft, staged: Applied) -> None:
    """Somebody else has changed what the commit says."""
    draft.tell_drift(staged.changes)
    said = (
        f"{counted(staged.changes)} since commit {draft.looked.status.applied_commit}, first {staged.changes[0].name}"
    )
    draft.findings.miss(ConditionType.IN_SYNC, "DRIFTED", said)


def writes(staged: Applied) -> bool:
    """Whether anything would be written."""
    return not staged.is_empty


def revision_for(
    state: "git_source_pb2.GitRevisionState.ValueType",
    draft: Draft,
    target: Target,
    staged: Applied | None,
    actor: str,
) -> git_source_pb2.GitRevision:
    """What came of a commit."""
    revision = revision_of(state, draft.now, actor)
    revision.commit, revision.tree, revision.signer = target.sha, target.tree, target.signer
    revision.author, revision.subject = readable_line(target.commit.author), readable_line(target.commit.subject)
    revision.commit_time.FromDatetime(target.commit.time)
    if staged is not None:
        revision.changes.extend(staged.changes[:CHANGES_MAX])
        revision.change_count = len(staged.changes)
        revision.plans.extend(staged.plans)
    return revision
