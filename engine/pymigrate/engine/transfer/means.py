"""What the data plane works with beside its systems: how a source is read, and how rows are hashed. A simulation passes its own."""

from collections.abc import Callable
from dataclasses import dataclass

from pymigrate.engine.domain.paths import PASSING, CopyPath
from pymigrate.engine.ports.connector import Source
from pymigrate.engine.transfer.checksum import Checksum, PassingChecksum, RowHasher
from pymigrate.engine.transfer.reading import SourceReader
from pymigrate.engine.transfer.signals import Signals


@dataclass(frozen=True, slots=True)
class Means:
    """`read` opens a source for reading; `hasher` makes what hashes rows."""

    read: Callable[[Callable[[], Source], Signals], SourceReader] = SourceReader
    hasher: Callable[[], RowHasher] = RowHasher

    def checksum(self, start: str = "") -> Checksum:
        """A running digest of rows that goes on from another's text."""
        return Checksum(start, self.hasher())

    def digest(self, path: CopyPath, start: str = "") -> Checksum | PassingChecksum:
        """A running digest of what travels on a path."""
        return PassingChecksum(start) if path in PASSING else self.checksum(start)


DEFAULT = Means()
