"""An executor without processes: a test says which hosts run, which have ended, and which can't be killed."""


class MemoryExecutor:
    """The Executor port. `started` and `killed` tell in order what was asked; a host runs while its pid is in `running`."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str]] = []
        self.killed: list[int] = []
        self.drained: list[int] = []
        self.running: set[int] = set()
        self.exited: set[str] = set()
        self.unkillable: set[int] = set()

    async def ensure(self, host: str, affinity: str) -> None:
        """Notes the start."""
        self.started.append((host, affinity))
        self.exited.discard(host)

    async def kill(self, pid: int, pid_start_ticks: int) -> bool:
        """Ends it, unless the test keeps it from ending."""
        if pid in self.unkillable:
            return False
        self.killed.append(pid)
        self.running.discard(pid)
        return True

    def is_running(self, pid: int, pid_start_ticks: int) -> bool:
        """Whether the test lets it run."""
        return pid in self.running

    def has_exited(self, host: str) -> bool:
        """Whether the test let it end, or it was never started."""
        return host in self.exited or host not in {name for name, _ in self.started}

    async def stop(self, host: str) -> None:
        """Ends it by name."""
        self.exited.add(host)

    async def drain(self, pid: int, pid_start_ticks: int) -> None:
        """Notes it, and ends it."""
        self.drained.append(pid)
        self.running.discard(pid)

    async def close(self) -> None:
        """Ends everything that was started."""
        self.exited.update(name for name, _ in self.started)
