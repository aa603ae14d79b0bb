"""What the engine needs to have worker hosts: start one, find out whether it is gone, and end it for certain."""

from typing import Protocol


class Executor(Protocol):
    """Starts and ends worker hosts on the machines that it has."""

    async def ensure(self, host: str, affinity: str) -> None:
        """Starts the host's process unless one that this executor started under that name still runs."""
        ...

    async def kill(self, pid: int, pid_start_ticks: int) -> bool:
        """Ends the process of that id and start at once, and waits until it is gone, bounded. True: it is gone, or was another's
        id by then, which is left alone."""
        ...

    def is_running(self, pid: int, pid_start_ticks: int) -> bool:
        """Whether the process of that id and start is there; one that has ended and was not yet reaped is not."""
        ...

    def has_exited(self, host: str) -> bool:
        """Whether the process that this executor started last under that name has ended; True where there was none."""
        ...

    async def stop(self, host: str) -> None:
        """Asks the host's process to drain and end, and ends it when it does not in time. A host that is not there is no error."""
        ...

    async def drain(self, pid: int, pid_start_ticks: int) -> None:
        """Asks the process of that id and start to drain and end, whichever engine started it, and ends it when it does not in time."""
        ...

    async def close(self) -> None:
        """Stops every host that this executor started, all at once."""
        ...
