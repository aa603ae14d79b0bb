"""A run in memory: its core, what orders what happens to it, and what of it the store does not have."""

import asyncio
from dataclasses import dataclass, field

from pymigrate.engine.domain.happenings import Progressed
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.v1 import run_pb2


@dataclass(slots=True)
class ActiveRun:
    """A run in memory. Its lock orders what happens to it. `is_doubtful`: a change failed and the store could not be asked what it
    holds."""

    core: RunCore
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_doubtful: bool = False
    revision: run_pb2.PlanRevision | None = None
    reports: list[tuple[Progressed, "asyncio.Future[bool]"]] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        """Whether something is still to be done for it, as far as is known: what memory holds of a doubtful one says nothing."""
        return self.is_doubtful or self.core.is_active


def keep_renewals(before: RunCore, after: RunCore) -> None:
    """What hosts said of their leases is in memory alone: without it a task that has taken longer than a lease would be taken for lost."""
    for task in after.leased():
        known = before.aggregate.tasks.get(task.id)
        if known is None or (known.host, known.fence) != (task.host, task.fence) or known.lease_expires is None:
            continue
        if task.lease_expires is not None and known.lease_expires > task.lease_expires:
            task.lease_expires = known.lease_expires
