"""The calls of Git sources: what is declared of them with where they stand, and what is asked of them."""

from collections.abc import Callable
from functools import partial

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.field_definitions import is_line, length_problems
from pymigrate.engine.application.gitops.bells import Bells
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES, owner_of
from pymigrate.engine.application.gitops.pass_drafts import found
from pymigrate.engine.application.gitops.pass_outcomes import Outcome, Wish, refuse_suspended
from pymigrate.engine.application.gitops.passes import Passes
from pymigrate.engine.application.gitops.promoting import Promoting
from pymigrate.engine.application.gitops.reversing import Reversing
from pymigrate.engine.application.gitops.suspension import status_of
from pymigrate.engine.application.pages import page_limit
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound, Problem, RepositoryRefused
from pymigrate.engine.domain.git_names import COMMIT, branch_problem
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.repository import Reference, ReferenceKind
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from pymigrate.v1 import git_source_pb2

REASON_CHARACTERS_MAX = 500
REFS = "refs/"
REFERENCE_MISSING = "REFERENCE_MISSING"


class Sources:
    """The use cases of Git sources besides those that every kind has."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        passes: Passes,
        bells: Bells[Outcome],
        wishes: "Wishes",
        clock: Clock,
        reversing: Reversing,
        promoting: Promoting,
    ) -> None:
        self._reversing = reversing
        self._also: Callable[[str], git_source_pb2.GitCondition | None] = lambda _: None
        self._promoting = promoting
        self._store = store
        self._catalog = catalog
        self._passes = passes
        self._bells = bells
        self._wishes = wishes
        self._clock = clock

    def also_tell(self, also: Callable[[str], git_source_pb2.GitCondition | None]) -> None:
        """Says who has one more condition of a source, by its uid, that only this engine knows."""
        self._also = also

    async def with_status(self, source: git_source_pb2.GitSource) -> git_source_pb2.GitSource:
        """A source with where it stands."""
        return (await self.with_statuses([source]))[0]

    async def with_statuses(self, sources: list[git_source_pb2.GitSource]) -> list[git_source_pb2.GitSource]:
        """Sources with where they stand: as it is kept, and when the repository last answered as it is remembered."""

        def read(unit: Unit) -> list[git_source_pb2.GitSourceStatus]:
            return [status_of(unit, source.uid)[1] for source in sources]

        for source, status in zip(sources, await self._store.read(read), strict=True):
            known = self._passes.known_status(source.uid)
            if known.HasField("fetch_time"):
                status.fetch_time.CopyFrom(known.fetch_time)
            if (also := self._also(source.uid)) is not None:
                status.conditions.append(also)
            source.status.CopyFrom(status)
        return sources

    async def delete(self, name: str, etag: str, caller: Caller) -> None:
        """Deletes a source; the objects that it declared become those of the caller's side. Raises as `Catalog.delete`."""

        def work(unit: Unit) -> str:
            source = self._catalog.require_writable(unit, GIT_SOURCES, name, etag, caller)
            count = len(unit.resources.owned(owner_of(name)))
            if count:
                detail = f"{count:,} objects of {owner_of(name)} are {caller.managed_by}'s now"
                unit.audit.append(AuditEntry(self._clock.now(), caller.principal, "hand over", name, 0, detail))
            self._catalog.delete(unit, GIT_SOURCES, name, "", caller)
            return source.uid

        uid = await self._store.transact(work)
        self._bells.forget(name, NotFound(f"{name} was deleted", field="name"))
        await self._passes.forget(uid)

    async def sync(self, name: str, caller: Caller, *, is_dry: bool) -> git_source_pb2.GitRevision:
        """Fetches and applies now, and waits for it; a dry one only tells what would come of it. Raises NotFound, FailedPrecondition where
        the source is suspended, and what is wrong with the repository."""
        if is_dry:
            return await self._passes.check(name)
        _, status = await self._store.read(partial(found, name=name))
        refuse_suspended(status, name)
        self._wishes.wish(name, Wish(caller.principal, applies=True))
        outcome = await self._bells.next(name)
        if outcome.error is not None:
            raise outcome.error
        return await self._passes.revision_of(outcome)

    async def diff(self, name: str, reference: str) -> git_source_pb2.GitRevision:
        """What a commit, branch, tag or full name would change. Raises NotFound, InvalidDefinition, and what is wrong with it."""
        if not reference:
            return await self._passes.check(name)
        first, *others = references_meant(reference)
        try:
            return await self._passes.check(name, first)
        except RepositoryRefused as error:
            if error.reason != REFERENCE_MISSING or not others:
                raise
            return await self._passes.check(name, others[0])

    async def suspend(self, name: str, reason: str, caller: Caller) -> git_source_pb2.GitSource:
        """Applies nothing more until it is resumed. Suspending again changes the reason."""
        problems = [*length_problems("reason", reason, REASON_CHARACTERS_MAX)]
        if not is_line(reason):
            problems.append(Problem("reason", "must be one line"))
        if problems:
            raise InvalidDefinition(tuple(problems))

        def change(status: git_source_pb2.GitSourceStatus) -> str:
            if status.is_suspended and status.suspend_reason == reason:
                return ""
            status.is_suspended, status.suspend_reason, status.suspended_by = True, reason, caller.principal
            return "suspend"

        return await self._changed(name, caller, reason, change)

    async def resume(self, name: str, caller: Caller) -> git_source_pb2.GitSource:
        """Goes on. What was changed meanwhile is corrected, or told, at once."""

        def change(status: git_source_pb2.GitSourceStatus) -> str:
            was_suspended = status.is_suspended
            status.is_suspended, status.suspend_reason, status.suspended_by = False, "", ""
            return "resume" if was_suspended else ""

        return await self._changed(name, caller, "", change)

    async def promote(
        self, request: git_source_pb2.PromoteGitSourceRequest, caller: Caller
    ) -> git_source_pb2.Promotion:
        """As `Promoting.promote`."""
        return await self._promoting.promote(request, caller)

    async def approve_reversal(
        self, request: git_source_pb2.ApproveReversalRequest, caller: Caller
    ) -> git_source_pb2.GitSource:
        """As `Reversing.approve`."""
        return await self.with_status(await self._reversing.approve(request, caller))

    async def revisions(
        self, parent: str, page_size: int, page_token: str
    ) -> tuple[list[git_source_pb2.GitRevision], str]:
        """A page of what came of a source's commits, the newest first, and the token of the next one."""
        size = page_limit(page_size)
        if page_token and not (page_token.isascii() and page_token.isdecimal()):
            raise InvalidDefinition((Problem("page_token", "is not a token that ListGitRevisions gave out"),))

        def read(unit: Unit) -> list[tuple[int, bytes]]:
            source = self._catalog.get(unit, GIT_SOURCES, parent)
            return list(unit.git_records.revisions(source.uid, int(page_token or "0"), size + 1))

        kept = await self._store.read(read)
        token = str(kept[size - 1][0]) if len(kept) > size else ""
        return [git_source_pb2.GitRevision.FromString(body) for _, body in kept[:size]], token

    async def _changed(
        self, name: str, caller: Caller, detail: str, change: Callable[[git_source_pb2.GitSourceStatus], str]
    ) -> git_source_pb2.GitSource:
        """Changes where a source stands; `change` gives the action for the audit trail, empty where nothing changed."""

        def work(unit: Unit) -> tuple[git_source_pb2.GitSource, bool]:
            source = self._catalog.get(unit, GIT_SOURCES, name)
            version, status = status_of(unit, source.uid)
            action = change(status)
            if action:
                unit.git_records.set_status(source.uid, status.SerializeToString(deterministic=True), version)
                now = self._clock.now()
                unit.audit.append(AuditEntry(now, caller.principal, action, name, 0, detail))
            return source, bool(action)

        source, is_changed = await self._store.transact(work)
        if is_changed:
            self._passes.unsettle(source.uid)
            self._bells.ring(name)
        return await self.with_status(source)


class Wishes:
    """What calls ask of the next pass of a source. The one that asks for more holds."""

    def __init__(self) -> None:
        self._wishes: dict[str, Wish] = {}

    def wish(self, name: str, wish: Wish) -> None:
        """Asks for something."""
        if wish.applies or not self._wishes.get(name, wish).applies:
            self._wishes[name] = wish

    def take(self, name: str) -> Wish:
        """What was asked for until now."""
        return self._wishes.pop(name, Wish())


def references_meant(text: str) -> list[Reference]:
    """What somebody may mean by a text: a commit, a full name, or a branch and else a tag. Raises InvalidDefinition."""
    if COMMIT.fullmatch(text):
        return [Reference(ReferenceKind.COMMIT, text)]
    if said := branch_problem(text):
        raise InvalidDefinition((Problem("reference", said),))
    if text.startswith(REFS):
        return [Reference(ReferenceKind.NAME, text)]
    return [Reference(ReferenceKind.BRANCH, text), Reference(ReferenceKind.TAG, text)]
