"""The operator's passes in two shares, so that however many objects are declared at once, no Run waits for them."""

from pymigrate.engine.application.clusters.work_queue import WorkQueue
from pymigrate.engine.entrypoints.custom_resources import RUN
from pymigrate.engine.entrypoints.operator.objects import Key


class Shares:
    """A queue of Runs and one of what is declared, each with workers of its own, seen as one."""

    def __init__(self, runs: WorkQueue[Key], declared: WorkQueue[Key]) -> None:
        self._runs = runs
        self._declared = declared
        self.queues = (runs, declared)

    def __len__(self) -> int:
        """How many keys wait for a worker now."""
        return sum(len(each) for each in self.queues)

    @property
    def running(self) -> int:
        """How many keys are worked on."""
        return sum(each.running for each in self.queues)

    @property
    def failing(self) -> int:
        """How many keys failed when they were last worked on."""
        return sum(each.failing for each in self.queues)

    @property
    def later(self) -> int:
        """How many keys are to be looked at later."""
        return sum(each.later for each in self.queues)

    def add(self, key: Key) -> None:
        """See WorkQueue."""
        self._of(key).add(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """See WorkQueue."""
        self._of(key).add_after(key, seconds)

    def hurry(self) -> None:
        """See WorkQueue."""
        for each in self.queues:
            each.hurry()

    def stop_taking(self) -> None:
        """See WorkQueue."""
        for each in self.queues:
            each.stop_taking()

    async def drained(self) -> None:
        """Until nothing is worked on."""
        for each in self.queues:
            await each.drained()

    def _of(self, key: Key) -> WorkQueue[Key]:
        return self._runs if key.word == RUN else self._declared
