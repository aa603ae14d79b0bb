"""What a store in memory keeps of Git sources."""

from collections.abc import Sequence

from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.ports.git_records import REVISIONS_KEPT
from pymigrate.engine.testing.journal import Journal
from pymigrate.engine.testing.store_tables import Tables


class MemoryGitRecords:
    """Statuses and revisions, by the source's uid."""

    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._statuses = tables.git_statuses
        self._revisions = tables.git_revisions
        self._journal = journal

    def status(self, uid: str) -> tuple[int, bytes] | None:
        """Version and body."""
        return self._statuses.get(uid)

    def set_status(self, uid: str, body: bytes, expected_version: int) -> None:
        """Raises StaleWrite."""
        version, _ = self._statuses.get(uid, (0, b""))
        if version != expected_version:
            raise StaleWrite(f"the status of source {uid} was written in between: read it again")
        self._journal.put(self._statuses, uid, (version + 1, body))

    def add_revision(self, uid: str, number: int, commit: str, body: bytes) -> None:
        """Raises StaleWrite."""
        newest = max((n for of, n in self._revisions if of == uid), default=0)
        if number != newest + 1:
            raise StaleWrite(f"revision {number} of source {uid} is not the next one: read it again")
        self._journal.put(self._revisions, (uid, number), (commit, body))
        if (uid, number - REVISIONS_KEPT) in self._revisions:
            self._journal.drop(self._revisions, (uid, number - REVISIONS_KEPT))

    def set_revision(self, uid: str, number: int, body: bytes) -> None:
        """Raises StaleWrite where there is none."""
        if (uid, number) not in self._revisions:
            raise StaleWrite(f"there is no revision {number} of source {uid} any more")
        commit, _ = self._revisions[uid, number]
        self._journal.put(self._revisions, (uid, number), (commit, body))

    def revisions(self, uid: str, before: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """A page, the newest first."""
        found = [(n, kept[1]) for (of, n), kept in self._revisions.items() if of == uid and (not before or n < before)]
        return sorted(found, reverse=True)[:limit]

    def newest_of(self, uid: str, commit: str) -> tuple[int, bytes] | None:
        """The newest revision of a commit."""
        found = [(n, kept[1]) for (of, n), kept in self._revisions.items() if of == uid and kept[0] == commit]
        return max(found, default=None)

    def drop(self, uid: str) -> None:
        """Forgets a source."""
        self._journal.drop(self._statuses, uid)
        for key in [key for key in self._revisions if key[0] == uid]:
            self._journal.drop(self._revisions, key)
