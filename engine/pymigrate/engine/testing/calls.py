"""What is called outside databases, in memory: it knows a repeated call by its key, and fails as a test says."""

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.calls import OutsideCall


class MemoryCalls:
    """Keeps every call. `failures` are raised one after the other before anything is done; `is_answer_lost`: the call is done and its
    answer lost, as often as failures are left."""

    def __init__(self) -> None:
        self.calls: list[OutsideCall] = []
        self.done: dict[str, int] = {}
        self.failures: list[PyMigrateError] = []
        self.is_answer_lost = False

    def call(self, call: OutsideCall) -> None:
        """Does it once a key."""
        self.calls.append(call)
        if self.failures and not self.is_answer_lost:
            raise self.failures.pop(0)
        self.done[call.key] = self.done.get(call.key, 0) or 1
        if self.failures:
            raise self.failures.pop(0)
