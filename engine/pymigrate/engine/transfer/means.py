"""What the data plane works with beside its systems: how a source is read, and how rows are hashed. A simulation passes its own."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pymigrate.engine.domain.paths import PASSING, CopyPath
from pymigrate.engine.ports.source import Source
from pymigrate.engine.transfer.brake import Brake
from pymigrate.engine.transfer.checksum import Checksum, PassingChecksum, RowHasher
from pymigrate.engine.transfer.memory import MemoryBudget
from pymigrate.engine.transfer.reading import SourceReader
from pymigrate.engine.transfer.signals import Signals


@dataclass(frozen=True, slots=True)
class Means:
    """`reader` opens a source for reading; `hasher` makes what hashes rows; `budget` is the memory that all lanes have together,
    `monotonic` tells seconds, and `lead` which part of a chunk's time a lane that is held to a rate waits before its first one."""

    reader: Callable[[Callable[[], Source], Signals, MemoryBudget, Callable[[Signals, int], Brake]], SourceReader] = (
        SourceReader
    )
    hasher: Callable[[], RowHasher] = RowHasher
    budget: MemoryBudget = field(default_factory=MemoryBudget)
    monotonic: Callable[[], float] = time.monotonic
    lead: Callable[[], float] = random.random

    def read(self, open_source: Callable[[], Source], signals: Signals) -> SourceReader:
        """A source that is opened for reading."""
        return self.reader(open_source, signals, self.budget, self.brake)

    def brake(self, signals: Signals, chunk_bytes: int) -> Brake:
        """What holds a lane to its rate."""
        return Brake(signals, self.monotonic, int(chunk_bytes * self.lead()))

    def checksum(self, start: str = "") -> Checksum:
        """A running digest of rows that goes on from another's text."""
        return Checksum(start, self.hasher())

    def digest(self, path: CopyPath, start: str = "") -> Checksum | PassingChecksum:
        """A running digest of what travels on a path."""
        return PassingChecksum(start) if path in PASSING else self.checksum(start)


DEFAULT = Means()
