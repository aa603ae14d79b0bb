"""An executor without processes: a test says which hosts run, which have ended, and which can't be killed."""

from collections.abc import Collection, Mapping, Sequence

from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.hosts import HostRecord


class MemoryExecutor:
    """The Executor port. `started` and `killed` tell in order what was asked; a host runs while its pid is in `running`."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str]] = []
        self.killed: list[int] = []
        self.drained: list[int] = []
        self.running: set[int] = set()
        self.exited: set[str] = set()
        self.unkillable: set[int] = set()
        self.tidied: list[tuple[set[str], set[str]]] = []
        self.known_troubles: dict[str, Sequence[Failure]] = {}

    async def ensure(self, host: str, affinity: str) -> None:
        """Notes the start."""
        self.started.append((host, affinity))
        self.exited.discard(host)

    async def kill(self, record: HostRecord) -> bool:
        """Ends it, unless the test keeps it from ending."""
        if record.pid in self.unkillable:
            return False
        self.killed.append(record.pid)
        self.running.discard(record.pid)
        return True

    def is_running(self, record: HostRecord) -> bool:
        """Whether the test lets it run."""
        return record.pid in self.running

    def has_exited(self, host: str) -> bool:
        """Whether the test let it end, or it was never started."""
        return host in self.exited or host not in {name for name, _ in self.started}

    async def stop(self, host: str) -> None:
        """Ends it by name."""
        self.exited.add(host)

    async def drain(self, record: HostRecord) -> None:
        """Notes it, and ends it."""
        self.drained.append(record.pid)
        self.running.discard(record.pid)

    def troubles(self) -> Mapping[str, Sequence[Failure]]:
        """What the test says."""
        return self.known_troubles

    async def tidy(self, records: Collection[HostRecord], wanted: Collection[str]) -> None:
        """Notes who is known, and who is about to be."""
        self.tidied.append(({record.name for record in records}, set(wanted)))

    async def close(self, records: Sequence[HostRecord]) -> None:
        """Ends everything that was started."""
        self.exited.update(name for name, _ in self.started)
