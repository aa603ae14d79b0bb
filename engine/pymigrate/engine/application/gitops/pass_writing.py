"""Writes what passes find, tells whoever follows, and says what came of each."""

from collections.abc import Callable, Sequence

import structlog

from pymigrate.engine.application.gitops.pass_drafts import Draft, Looked
from pymigrate.engine.application.gitops.pass_outcomes import Known, Outcome
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import git_source_pb2

log = structlog.get_logger(__name__)
Observer = Callable[[git_source_pb2.GitSource, git_source_pb2.GitRevision], None]


class PassWriting:
    """Writes only what is new."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.observers: list[Observer] = []

    async def write(self, draft: Draft, known: Known) -> list[git_source_pb2.GitRevision]:
        """Writes what a pass found, where it is anything new."""
        written: list[git_source_pb2.GitRevision] = []
        if draft.is_needed:
            written = await self._store.transact(draft.write)
            self.tell(draft.looked.source, written)
        known.status = draft.finish()
        return written

    def tell(self, source: git_source_pb2.GitSource, revisions: Sequence[git_source_pb2.GitRevision]) -> None:
        """Tells of revisions that are kept now."""
        for revision in revisions:
            for observer in self.observers:
                try:
                    observer(source, revision)
                except Exception as error:  # what others are told of stops no pass
                    log.exception("git_source.observer_failed", source=source.name, error=type(error).__name__)

    async def kept_revision(self, looked: Looked, sha: str) -> git_source_pb2.GitRevision:
        """The newest revision of a commit; empty where none is kept."""
        kept = await self._store.read(lambda unit: unit.git_records.newest_of(looked.source.uid, sha) if sha else None)
        return git_source_pb2.GitRevision.FromString(kept[1]) if kept else git_source_pb2.GitRevision()

    def outcome(
        self,
        result: str,
        draft: Draft,
        known: Known,
        revision: git_source_pb2.GitRevision | None = None,
        error: PyMigrateError | None = None,
        *,
        is_well: bool | None = None,
    ) -> Outcome:
        """What came of a pass."""
        if known.fetched:
            age = self._clock.monotonic() - known.fetched
            known.status.fetch_time.FromMicroseconds(int((self._clock.now().timestamp() - age) * 1e6))
        well = result not in ("failed", "refused") and error is None if is_well is None else is_well
        return Outcome(result, well, revision or git_source_pb2.GitRevision(), error, draft.looked.source, known.status)
