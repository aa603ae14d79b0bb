"""What the engine needs to have worker hosts: start one, find out whether it is gone, and end it for certain."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.hosts import HostRecord

# Troubles that tell how a host ended, and not why none comes.
ENDED_REASONS = frozenset(
    {"OUT_OF_MEMORY", "EVICTED", "DEADLINE_EXCEEDED", "NODE_LOST", "HOST_ENDED", "HOST_KEEPS_ENDING"}
)


class Executor(Protocol):
    """Starts and ends worker hosts on the machines that it has. Asked about a record, it speaks of the process behind it alone."""

    async def ensure(self, host: str, affinity: str) -> None:
        """Starts the host's process unless one that this executor started under that name still runs."""
        ...

    async def kill(self, record: HostRecord) -> bool:
        """Ends the host's process at once, and waits until it is gone, bounded. True: it is gone, or its place is another's by then,
        which is left alone; or this executor does not reach where it ran."""
        ...

    def is_running(self, record: HostRecord) -> bool:
        """Whether the host's process is there; one that has ended and was not yet reaped is not. True where that can't be seen: its lease
        decides then."""
        ...

    def has_exited(self, host: str) -> bool:
        """Whether the process that this executor started last under that name has ended; True where there was none."""
        ...

    async def stop(self, host: str) -> None:
        """Asks the host's process to drain and end, and ends it when it does not in time. A host that is not there is no error."""
        ...

    async def drain(self, record: HostRecord) -> None:
        """Asks the host's process to drain and end, whichever engine started it, and ends it when it does not in time."""
        ...

    def troubles(self) -> Mapping[str, Sequence[Failure]]:
        """Why hosts do not come, by the affinity that `ensure` was given, such as `shared@prod`: those that stand now, told as soon as they
        are known and no longer than they last. An affinity without any is left out."""
        ...

    async def tidy(self, records: Collection[HostRecord], wanted: Collection[str]) -> None:
        """Ends what it started, or an earlier engine did, and what is of no use any more: neither the place of one of these records nor, by
        its name among the `wanted`, about to be. Called now and then; it waits for nothing."""
        ...

    async def close(self, records: Sequence[HostRecord]) -> None:
        """The engine ends: hosts that live by it drain and end, all at once; others go on and look for the next engine."""
        ...
