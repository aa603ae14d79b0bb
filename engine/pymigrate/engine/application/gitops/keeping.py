"""Keeps what is stored what the applied commit says, while another one can't be applied."""

import structlog

from pymigrate.engine.application.gitops.conditions import Findings
from pymigrate.engine.application.gitops.git_source_kinds import owner_of
from pymigrate.engine.application.gitops.objects_digest import objects_digest
from pymigrate.engine.application.gitops.pass_drafts import GIT_ACTOR, Draft, counted
from pymigrate.engine.application.gitops.pass_findings import miss_sync, revision_for, tell_kept, writes
from pymigrate.engine.application.gitops.pass_outcomes import Known
from pymigrate.engine.application.gitops.pass_writing import PassWriting
from pymigrate.engine.application.gitops.source_reading import SourceReading, Stopped, Target
from pymigrate.engine.application.gitops.source_staging import SourceStaging
from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import git_source_pb2

log = structlog.get_logger(__name__)


class Keeping:
    """Looks for drift from the commit that is applied."""

    def __init__(self, store: Store, reading: SourceReading, staging: SourceStaging, writing: PassWriting) -> None:
        self._store = store
        self._reading = reading
        self._staging = staging
        self._writing = writing

    async def step(self, draft: Draft, known: Known) -> bool:
        """Looks for drift from the commit that is applied, where another one can't be. Whether the draft was written with it."""
        looked, sha = draft.looked, draft.looked.status.applied_commit
        place = (sha, looked.digest, looked.version)
        if not sha or looked.digest == looked.status.objects_digest or known.kept_as == place:
            return False
        if not await self._reading.repository(looked.source).has(sha):
            return False
        try:
            _, read = await self._reading.read(looked.source, sha, Findings())
        except Stopped as stopped:  # the next pass tries again
            log.warning("git_source.drift_unread", source=looked.source.name, commit=sha, error=stopped.error.message)
            return False
        staged = await self._store.read(lambda unit: self._staging.stage(unit, looked, read))
        known.kept_as = place
        if staged.problems:
            return False
        if not writes(staged):
            tell_kept(draft, staged)
            draft.status.objects_digest = looked.digest
            return False
        if looked.must_only_look or looked.source.drift_policy == git_source_pb2.DRIFT_POLICY_REPORT:
            miss_sync(draft, staged)
            return False
        commit = await self._reading.repository(looked.source).commit(sha)
        target = Target(sha, commit)

        revisions, audits = tuple(draft.revisions), tuple(draft.audits)

        def correct(unit: Unit) -> list[git_source_pb2.GitRevision]:
            """It may be done again after a conflict, and then begins with what the pass has found before."""
            draft.revisions[:], draft.audits[:] = revisions, audits
            draft.require_unchanged(unit)
            again = self._staging.stage(unit, looked, read)
            if again.problems or not writes(again):
                raise StaleWrite(f"{looked.source.name} was changed while its pass went on: it begins again")
            again.flush(unit)
            state = git_source_pb2.GIT_REVISION_STATE_CORRECTED
            draft.revisions.append(revision_for(state, draft, target, again, GIT_ACTOR))
            draft.audit(owner_of(looked.source.name), f"correct {sha}", counted(again.changes))
            tell_kept(draft, again)
            draft.status.objects_digest = objects_digest(unit, looked.source)
            return draft.write(unit)

        written = await self._store.transact(correct)
        known.status = draft.status
        self._writing.tell(looked.source, written)
        return True
