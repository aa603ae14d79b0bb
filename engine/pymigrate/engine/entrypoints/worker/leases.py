"""A host's hold on a task, by the host's own clock: it ends when the engine says so, or when a lease's time passes unrenewed."""

import threading
from collections.abc import Callable

from pymigrate.engine.domain.rates import FREE, Rate
from pymigrate.v1 import worker_pb2


class Lease:
    """One task's signals. Safe on every thread. `monotonic` counts seconds, also while the process is stopped."""

    def __init__(self, task: worker_pb2.Task, since: float, monotonic: Callable[[], float]) -> None:
        self.message = worker_pb2.TaskLease(task_id=task.id, fence=task.fence, credential=task.credential)
        self.progress: worker_pb2.LaneProgress | None = None
        self.reporting = threading.Lock()
        self._seconds = task.lease_seconds
        self._rate = _rate(task.rate)
        self._renewed = since
        self._monotonic = monotonic
        self._asked = threading.Event()
        self._is_draining = False
        self._is_lost = False

    def renew(self, since: float, credential: str = "") -> None:
        """The engine has confirmed it in a call that was made at `since`, and given a fresh credential. A lease that ran out before is not
        revived."""
        if not self.is_lost():
            self._renewed = max(self._renewed, since)
            # Another message, since a thread may be sending this one.
            former = self.message
            shown = credential or former.credential
            self.message = worker_pb2.TaskLease(task_id=former.task_id, fence=former.fence, credential=shown)

    def drain(self) -> None:
        """The task is to end at its next checkpoint."""
        self._is_draining = True
        self._asked.set()

    def lose(self) -> None:
        """The task is no longer this host's."""
        self._is_lost = True
        self._asked.set()

    def is_draining(self) -> bool:
        """Whether the task is to end at its next checkpoint."""
        return self._is_draining

    def is_lost(self) -> bool:
        """Whether nothing may be committed any more. Once true, it stays so."""
        if not self._is_lost and self._monotonic() - self._renewed >= self._seconds:
            self.lose()
        return self._is_lost

    def wait(self, seconds: float) -> None:
        """Waits so long, or until something is asked."""
        self._asked.wait(seconds)

    def rate(self) -> Rate:
        """How fast the lane may go."""
        return self._rate

    def keep_to(self, rate: worker_pb2.LaneRate | None) -> None:
        """The engine says how fast the lane may go from now on; None: as fast as it can."""
        self._rate = FREE if rate is None else _rate(rate)


def _rate(message: worker_pb2.LaneRate) -> Rate:
    return Rate(message.bytes_per_second_max, message.rows_per_second_max)


class Leases:
    """Everything that a host has under way."""

    def __init__(self) -> None:
        self._held: dict[str, Lease] = {}
        self._changed = threading.Condition()

    def add(self, lease: Lease) -> None:
        """A task begins."""
        with self._changed:
            self._held[lease.message.task_id] = lease
            self._changed.notify_all()

    def remove(self, lease: Lease) -> None:
        """A task has ended, and the engine knows it or does not wait for it."""
        with self._changed:
            if self._held.get(lease.message.task_id) is lease:
                del self._held[lease.message.task_id]
            self._changed.notify_all()

    def all(self) -> list[Lease]:
        """Those under way, lost ones too until their threads have ended."""
        with self._changed:
            return list(self._held.values())

    def held(self) -> list[Lease]:
        """Those that are still the host's."""
        return [lease for lease in self.all() if not lease.is_lost()]

    def wait_below(self, count: int, seconds: float) -> bool:
        """Waits until fewer than `count` are under way."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._held) < count, seconds)
