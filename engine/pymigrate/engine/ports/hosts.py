"""Worker hosts as the store keeps them: the process behind each, and when it last called."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HostRecord:
    """A worker host: the process behind it, so that it can be told from a later one with the same id, and when it last called.
    `workload` is what runs it, in its executor's words; empty where that is a process of the engine's machine."""

    name: str
    affinity: str
    pid: int
    pid_start_ticks: int
    session: str
    heartbeat_time: datetime
    workload: str = ""


class Hosts(Protocol):
    """Worker hosts."""

    def get(self, name: str) -> HostRecord | None:
        """The host of that name."""
        ...

    def put(self, host: HostRecord) -> None:
        """Stores it in place of what had the name."""
        ...

    def touch(self, name: str, heartbeat_time: datetime) -> None:
        """Notes that it called."""
        ...

    def delete(self, name: str) -> None:
        """Forgets it; forgetting an unknown one changes nothing."""
        ...

    def list(self) -> Sequence[HostRecord]:
        """All hosts, ordered by name."""
        ...
