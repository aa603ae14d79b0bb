"""How a commit stands to the one that is applied: which it says it reverts, and whether it comes after it at all."""

from pymigrate.engine.application.gitops.definition import DefinitionsRead
from pymigrate.engine.application.gitops.pass_drafts import Looked
from pymigrate.engine.application.gitops.read_commits import ReadCommit
from pymigrate.engine.application.gitops.source_reading import SourceReading, Target
from pymigrate.engine.application.gitops.source_staging import SourceStaging
from pymigrate.engine.application.kinds import PLANS

COMMITS_BETWEEN_MAX = 1_000


class CommitLines:
    """Looks along the commits of sources' copies."""

    def __init__(self, reading: SourceReading, staging: SourceStaging) -> None:
        self._reading = reading
        self._staging = staging

    async def read_commit(self, looked: Looked, target: Target, read: DefinitionsRead) -> ReadCommit:
        """With the revisions that the commits which lead to it, and not to the one that is applied, say they revert."""
        applied, repository = looked.status.applied_commit, self._reading.repository(looked.source)
        if not applied or applied == target.sha:
            return ReadCommit(looked, target, read)
        between = await repository.between(applied, target.sha, COMMITS_BETWEEN_MAX)
        declared = {each.name for each in read.definitions if each.kind is PLANS}
        reverted = await self._staging.reversals.reverted(looked.source, declared, between, repository)
        return ReadCommit(looked, target, read, reverted)

    async def is_rewritten(self, looked: Looked, target: Target) -> bool:
        """Whether a branch leads to a commit that does not come after the one that is applied, without the source having been changed."""
        applied, source = looked.status.applied_commit, looked.source
        if not applied or source.WhichOneof("reference") in ("tag", "commit") or source.promotion.pin_file:
            return False
        if applied in target.commit.parents:
            return False
        if source.update_time.ToMicroseconds() > looked.status.applied_time.ToMicroseconds():
            return False
        return not await self._reading.repository(source).is_ancestor(applied, target.sha)
