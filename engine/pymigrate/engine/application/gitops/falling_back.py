"""What becomes of a commit that is not applied: it is told where it fails, and what is applied goes on serving, kept as it is."""

from collections.abc import Callable, Sequence

from pymigrate.engine.application.gitops.conditions import ConditionType
from pymigrate.engine.application.gitops.keeping import Keeping
from pymigrate.engine.application.gitops.pass_drafts import PROBLEMS_MAX, Draft, told_first
from pymigrate.engine.application.gitops.pass_findings import revision_for
from pymigrate.engine.application.gitops.pass_outcomes import Known, Outcome, Wish
from pymigrate.engine.application.gitops.pass_writing import PassWriting
from pymigrate.engine.application.gitops.source_reading import INVALID, Target, problem_of
from pymigrate.engine.application.gitops.source_staging import actor_of
from pymigrate.engine.domain.errors import PyMigrateError, RepositoryRefused
from pymigrate.v1 import definition_pb2, git_source_pb2

DETAIL_CHARACTERS_MAX = 500


class FallingBack:
    """Ends passes that apply nothing. `clean` takes secrets out of what is told."""

    def __init__(self, writing: PassWriting, keeping: Keeping, clean: Callable[[str], str]) -> None:
        self._writing = writing
        self._keeping = keeping
        self._clean = clean

    async def stop(
        self, draft: Draft, known: Known, target: Target | None, error: PyMigrateError, wish: Wish
    ) -> Outcome:
        """A commit that is not read, as of who signed it, or of what lies in its folder."""
        draft.tell_problems([problem_of(error, self._clean)])
        if target is not None and isinstance(error, RepositoryRefused):
            await self._note(draft, target, wish)
        return await self.fall_back(draft, known, error)

    async def refuse(
        self,
        draft: Draft,
        known: Known,
        target: Target,
        problems: Sequence[definition_pb2.DefinitionProblem],
        wish: Wish,
    ) -> Outcome:
        """A commit that is not sound: it is told where, and what is applied stays."""
        told = [
            definition_pb2.DefinitionProblem.FromString(each.SerializeToString()) for each in problems[:PROBLEMS_MAX]
        ]
        for each in told:
            each.description = self._clean(each.description)
        draft.tell_problems(told)
        draft.findings.miss(ConditionType.VALID, INVALID, told_first(problems, self._clean))
        await self._note(draft, target, wish)
        return await self.fall_back(draft, known, None, "refused")

    async def fall_back(
        self,
        draft: Draft,
        known: Known,
        error: PyMigrateError | None,
        result: str = "failed",
        *,
        is_well: bool = False,
    ) -> Outcome:
        """What is applied goes on serving, and is kept as it is: drift is corrected or told by the commit before."""
        status = draft.looked.status
        if not is_well and draft.status.seen_commit != status.applied_commit:
            kept = (
                f"commit {status.applied_commit} goes on serving" if status.applied_commit else "nothing is applied yet"
            )
            draft.findings.miss(
                ConditionType.APPLIED, "HELD_BACK", f"commit {draft.status.seen_commit} is not applied: {kept}"
            )
        revisions = [] if await self._keeping.step(draft, known) else await self._writing.write(draft, known)
        revision = revisions[-1] if revisions else None
        return self._writing.outcome(result, draft, known, revision, error, is_well=is_well)

    async def _note(self, draft: Draft, target: Target, wish: Wish) -> None:
        """Keeps that a commit was refused, once. One that is applied stays so, whatever is found of it later."""
        kept = await self._writing.kept_revision(draft.looked, target.sha)
        is_applied = target.sha == draft.looked.status.applied_commit
        if is_applied or kept.state == git_source_pb2.GIT_REVISION_STATE_REFUSED:
            return
        problems = draft.status.problems
        revision = revision_for(git_source_pb2.GIT_REVISION_STATE_REFUSED, draft, target, None, wish.actor)
        revision.problems.extend(problems)
        draft.revisions.append(revision)
        draft.audit(actor_of(draft.looked, wish), f"refuse {target.sha}", told_first(problems)[:DETAIL_CHARACTERS_MAX])
