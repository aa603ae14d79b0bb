"""The tasks of a run that wait for a host, in the order of their urgency.

They stand in queues: tasks of one queue have phase, kind and systems in common, so that all of them may be granted or none, and whoever
grants looks at the first of each. Those are kept in order, lanes and everything else apart, as lanes are many and often none may be had.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from heapq import merge

from pymigrate.engine.domain.run_states import TaskKind

Urgency = tuple[bool, int, float, str]
Queue = tuple[TaskKind, str, str, str]


class Pending:
    """Tasks by queue, in order. A task is told as its urgency, which ends with its id."""

    def __init__(self) -> None:
        self.queues: dict[Queue, list[Urgency]] = {}
        self._lanes: list[Urgency] = []
        self.others: list[Urgency] = []

    def add(self, queue: Queue, urgency: Urgency) -> None:
        """One more task."""
        waiting = self.queues.get(queue)
        if waiting is None:
            self.queues[queue] = [urgency]
            insort(self._heads(queue), urgency)
            return
        if urgency < waiting[0]:
            heads = self._heads(queue)
            del heads[bisect_left(heads, waiting[0])]
            insort(heads, urgency)
        insort(waiting, urgency)

    def remove(self, queue: Queue, urgency: Urgency) -> None:
        """A task that waits no longer."""
        waiting = self.queues[queue]
        place = bisect_left(waiting, urgency)
        del waiting[place]
        if place:
            return
        heads = self._heads(queue)
        del heads[bisect_left(heads, urgency)]
        if waiting:
            insort(heads, waiting[0])
        else:
            del self.queues[queue]

    def heads(self, *, lanes: bool) -> Iterable[Urgency]:
        """The first of each queue in order, with or without lanes: as it is now, whatever is added or removed meanwhile."""
        if not lanes or not self._lanes:
            return self.others[:]
        return merge(self.others[:], self._lanes[:]) if self.others else self._lanes[:]

    @property
    def has_undoing(self) -> bool:
        """Whether something waits to be undone: that is always the most urgent."""
        return bool(self.others) and not self.others[0][0]

    def all(self) -> list[Urgency]:
        """Every task, in order."""
        return sorted(entry for waiting in self.queues.values() for entry in waiting)

    def _heads(self, queue: Queue) -> list[Urgency]:
        return self._lanes if queue[0] is TaskKind.COPY else self.others
