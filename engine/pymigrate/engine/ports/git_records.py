"""What is kept of Git sources besides their definitions: where each stands, and the revisions that came of it."""

from collections.abc import Sequence
from typing import Protocol

REVISIONS_KEPT = 1_000
"""How many revisions of a source are kept, the newest: what goes back looks at half of them."""


class GitRecords(Protocol):
    """By the source's uid. Bodies are messages of the contract, as it encodes them."""

    def status(self, uid: str) -> tuple[int, bytes] | None:
        """The version, from 1, and the GitSourceStatus."""
        ...

    def set_status(self, uid: str, body: bytes, expected_version: int) -> None:
        """Keeps a status; `expected_version` is that of the one before, 0 for the first. Raises StaleWrite."""
        ...

    def add_revision(self, uid: str, number: int, commit: str, body: bytes) -> None:
        """Adds a GitRevision, whose number is the next one, from 1; one that is older than the newest REVISIONS_KEPT goes. Raises
        StaleWrite where it is taken."""
        ...

    def set_revision(self, uid: str, number: int, body: bytes) -> None:
        """Replaces what is kept of a revision."""
        ...

    def revisions(self, uid: str, before: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """At most `limit` revisions with a number below `before` (0: any), the newest first."""
        ...

    def newest_of(self, uid: str, commit: str) -> tuple[int, bytes] | None:
        """The newest revision of a commit."""
        ...

    def drop(self, uid: str) -> None:
        """Forgets a source."""
        ...
