"""Ends passes that find the commit which is applied already: nothing of it is stored again, and drift that is not corrected is told."""

from pymigrate.engine.application.gitops.applying import Applied
from pymigrate.engine.application.gitops.conditions import first_unmet
from pymigrate.engine.application.gitops.holding_back import drop_reversal
from pymigrate.engine.application.gitops.pass_drafts import Draft
from pymigrate.engine.application.gitops.pass_findings import meet_applied, miss_sync, tell_kept
from pymigrate.engine.application.gitops.pass_outcomes import Known, Outcome
from pymigrate.engine.application.gitops.pass_writing import PassWriting
from pymigrate.engine.application.gitops.run_starting import RunStarting
from pymigrate.engine.application.gitops.source_reading import Target
from pymigrate.engine.ports.clock import Clock


class SameCommits:
    """For all sources. Runs that are still due are started where what is stored is what the commit says."""

    def __init__(self, writing: PassWriting, starting: RunStarting, clock: Clock) -> None:
        self._writing = writing
        self._starting = starting
        self._clock = clock

    async def unchanged(self, draft: Draft, known: Known, head: str) -> Outcome:
        """The same commit, and the same state of the store."""
        looked = draft.looked
        known.settled = (head, looked.digest, looked.version)
        failure = await self._starting.step(looked.source, draft.findings)
        await self._writing.write(draft, known)
        if first_unmet(draft.status.conditions) is None:
            known.applied = self._clock.monotonic()
        return self._writing.outcome("unchanged", draft, known, error=failure)

    async def in_sync(self, draft: Draft, known: Known, target: Target, staged: Applied) -> Outcome:
        """The same commit, and what is stored is what it says, whatever was written meanwhile."""
        meet_applied(draft, target)
        drop_reversal(draft)
        tell_kept(draft, staged)
        draft.tell_problems([])
        draft.status.objects_digest = draft.looked.digest
        known.settle(draft.looked, target, staged, draft.looked.digest, self._clock)
        known.applied = self._clock.monotonic()
        failure = await self._starting.step(draft.looked.source, draft.findings)
        await self._writing.write(draft, known)
        return self._writing.outcome("unchanged", draft, known, error=failure)

    async def report(self, draft: Draft, known: Known, target: Target, staged: Applied) -> Outcome:
        """The same commit, and drift that is told and left alone."""
        meet_applied(draft, target)
        drop_reversal(draft)
        draft.tell_problems([])
        miss_sync(draft, staged)
        known.settle(draft.looked, target, staged, draft.looked.digest, self._clock)
        await self._writing.write(draft, known)
        return self._writing.outcome("drifted", draft, known)
