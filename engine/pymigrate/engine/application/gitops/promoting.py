"""Promotes what succeeded in one source to the next: refused with every reason, or pushed as a commit or branch that
says from where it comes, by which runs, and who asked."""

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.gitops.applying import Applying, Scope
from pymigrate.engine.application.gitops.conditions import Findings
from pymigrate.engine.application.gitops.git_source_kinds import COLLECTION, GIT_SOURCES, owner_of
from pymigrate.engine.application.gitops.promotion_candidates import Shown, shown_by
from pymigrate.engine.application.gitops.promotion_layouts import Made, Promoted, PromotionLayouts
from pymigrate.engine.application.gitops.source_reading import SourceReading, Stopped
from pymigrate.engine.application.gitops.source_secrets import SourceSecrets
from pymigrate.engine.application.policies import policy_of, require_runner
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, Problem, RepositoryRefused
from pymigrate.engine.domain.git_names import commit_problem
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.promotions import Refusal, Verdict, declared_refusals, verdict_of
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.repository import Reference, ReferenceKind
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from pymigrate.v1 import definition_pb2, git_source_pb2

log = structlog.get_logger(__name__)
SHORT = 12
TOLD_MAX = 50
BY_COMMIT = git_source_pb2.PROMOTION_DELIVERY_COMMIT


class Promoting:
    """The use case. `ring` asks for a pass of a source."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        reading: SourceReading,
        secrets: SourceSecrets,
        applying: Applying,
        clock: Clock,
        ring: Callable[[str], None],
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._reading = reading
        self._secrets = secrets
        self._applying = applying
        self._layouts = PromotionLayouts(reading)
        self._clock = clock
        self._ring = ring

    async def promote(
        self, request: git_source_pb2.PromoteGitSourceRequest, caller: Caller
    ) -> git_source_pb2.Promotion:
        """Promotes, or only checks. Raises NotFound, InvalidDefinition, NotPermitted to who may not run anything
        there, FailedPrecondition with every reason against it, and what is wrong with the repository."""
        if request.commit and (said := commit_problem(request.commit)):
            raise InvalidDefinition((Problem("commit", said),))
        source, before, shown = await self._store.read(lambda unit: self._look(unit, request, caller))
        verdict = verdict_of(shown.candidate)
        if not shown.candidate.commit or any(each.reason == "NOT_APPLIED" for each in verdict.refusals):
            raise _refused(source, before, verdict.refusals)  # there is no commit to look at
        try:
            return await self._promote(request, caller, source, before, shown, verdict)
        except Stopped as stopped:
            raise stopped.error from stopped

    async def _promote(
        self,
        request: git_source_pb2.PromoteGitSourceRequest,
        caller: Caller,
        source: git_source_pb2.GitSource,
        before: git_source_pb2.GitSource,
        shown: Shown,
        verdict: Verdict,
    ) -> git_source_pb2.Promotion:
        commit = shown.candidate.commit
        time = await self._time_of(before, commit)
        promoted = Promoted(before, source, commit, _message(source, before, shown, verdict, caller), time)
        made = await self._layouts.make(promoted)
        plans, found = await self._plans(source, shown, made)
        refusals = [*verdict.refusals, *found]
        if source.HasField("signatures") and made.is_ours and made.read_commit == made.sha and not made.is_unchanged:
            refusals.append(
                Refusal(
                    "SIGNATURE_DEMANDED",
                    f"{source.name} demands signatures, and what is made here has none: let a person sign it",
                )
            )
        if refusals:
            raise _refused(source, before, refusals)
        answer = git_source_pb2.Promotion(
            promoted_commit=commit, plans=plans, runs=sorted(verdict.runs.values()), is_unchanged=made.is_unchanged
        )
        if made.is_unchanged:
            answer.branch = source.branch
            return answer
        answer.branch, expected = await self._place(source, commit, made)
        if expected and answer.branch != source.branch:  # somebody has asked for it before
            answer.pushed_commit = expected
            return answer
        if request.validate_only:
            return answer
        await self._reading.repository(source).push(
            await self._secrets.remote(source), made.sha, answer.branch, expected
        )
        answer.pushed_commit = made.sha
        log.info("git_source.promoted", source=source.name, commit=commit, branch=answer.branch, pushed=made.sha)
        await self._store.transact(lambda unit: self._audit(unit, caller, source, answer))
        if source.promotion.delivery == BY_COMMIT:
            self._ring(source.name)
        return answer

    def _look(
        self, unit: Unit, request: git_source_pb2.PromoteGitSourceRequest, caller: Caller
    ) -> tuple[git_source_pb2.GitSource, git_source_pb2.GitSource, Shown]:
        source = self._catalog.get(unit, GIT_SOURCES, request.name)
        if not source.HasField("promotion"):
            raise FailedPrecondition(
                f"{source.name} is promoted to by nobody: declare `promotion` with `promoted_from` first"
            )
        if source.promotion.delivery == BY_COMMIT and not source.branch:
            raise FailedPrecondition(f"{source.name} names no branch to push to: set `branch`")
        if source.environment:
            environment = f"environments/{source.environment}"
            require_runner(policy_of(unit, environment), environment, caller)
        before = self._catalog.get(unit, GIT_SOURCES, f"{COLLECTION}/{source.promotion.promoted_from}")
        return source, before, shown_by(unit, before, request.commit)

    async def _time_of(self, before: git_source_pb2.GitSource, commit: str) -> datetime:
        """When the commit was made: what is made of it has that time too, so that asking again makes the same."""
        copy = self._reading.repository(before)
        if not await copy.has(commit):
            await self._reading.head(before, Findings(), Reference(ReferenceKind.COMMIT, commit))
        return (await copy.commit(commit)).time

    async def _plans(
        self, source: git_source_pb2.GitSource, shown: Shown, made: Made
    ) -> tuple[list[definition_pb2.PlanChange], list[Refusal]]:
        """The plans as the source would have them, and why they are not those that have run before."""
        _, read = await self._reading.read(source, made.read_commit, Findings())
        owner = owner_of(source.name)
        scope = Scope(owner, source.environment, source.prune_policy, frozenset(source.taken_over_sides))
        staged = await self._store.read(lambda unit: self._applying.stage(unit, read, Caller(owner, owner), scope))
        if problems := [*read.problems, *staged.problems]:
            place = f"{problems[0].file}:{problems[0].line}: " if problems[0].file else ""
            said = f"{source.name} could not apply it: {place}{problems[0].description}"
            return [], [Refusal("INVALID", said)]
        plans = [each for each in staged.plans if each.plan_hash]
        here = {last_segment(each.plan): each.declared_hash for each in plans}
        there = {last_segment(name): each.declared_hash for name, each in shown.plans.items()}
        both = {name: (there.get(name, ""), here.get(name, "")) for name in {*here, *there}}
        return plans, list(declared_refusals(both))

    async def _place(self, source: git_source_pb2.GitSource, commit: str, made: Made) -> tuple[str, str]:
        """The branch that is pushed, and the commit that it must lead to before; the pushed one itself where it does already. Raises
        FailedPrecondition where somebody has something else there."""
        if source.promotion.delivery == BY_COMMIT:
            return source.branch, made.head
        branch = f"promote/{last_segment(source.name)}/{commit[:SHORT]}"
        try:
            there = await self._reading.head(source, Findings(), Reference(ReferenceKind.BRANCH, branch))
        except Stopped as stopped:
            if isinstance(stopped.error, RepositoryRefused) and stopped.error.reason == "REFERENCE_MISSING":
                return branch, ""
            raise
        if there == made.sha:
            return branch, there
        if not await self._layouts.are_same(source, there, made.sha):
            raise FailedPrecondition(
                f"the branch `{branch}` holds something else already: merge or delete it, and promote again"
            )
        return branch, there

    def _audit(
        self, unit: Unit, caller: Caller, source: git_source_pb2.GitSource, answer: git_source_pb2.Promotion
    ) -> None:
        said = f"{answer.pushed_commit} on `{answer.branch}`, for {', '.join(answer.runs)}"
        entry = AuditEntry(
            self._clock.now(), caller.principal, f"promote {answer.promoted_commit}", source.name, 0, said[:2_000]
        )
        unit.audit.append(entry)


def _message(
    source: git_source_pb2.GitSource,
    before: git_source_pb2.GitSource,
    shown: Shown,
    verdict: Verdict,
    caller: Caller,
) -> str:
    """What the commit says of itself."""
    commit = shown.candidate.commit
    lines = [f"Promote {commit[:SHORT]} from {last_segment(before.name)} to {last_segment(source.name)}", ""]
    lines += [f"Commit {commit} is applied in {before.name}, and has succeeded there:", ""]
    for name, change in sorted(shown.plans.items())[:TOLD_MAX]:
        lines.append(f"- {verdict.runs.get(name, name)}: plan hash {change.plan_hash}, declared {change.declared_hash}")
    if len(shown.plans) > TOLD_MAX:
        lines.append(f"- and {len(shown.plans) - TOLD_MAX:,} more plans")
    return "\n".join([*lines, "", f"Asked for by {caller.principal}.", ""])


def _refused(
    source: git_source_pb2.GitSource, before: git_source_pb2.GitSource, refusals: Sequence[Refusal]
) -> FailedPrecondition:
    told = "; ".join(f"{each.reason}: {each.message}" for each in refusals[:TOLD_MAX])
    return FailedPrecondition(f"{source.name} can't be promoted to from {before.name}: {told}")
