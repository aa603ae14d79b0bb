"""Questions that only a worker host can answer: does a connection work, what does it hold, could a dataset be copied.

They live in memory: whoever asks waits, and asks again when the engine goes away meanwhile.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pymigrate.engine.application.caller import NewId
from pymigrate.engine.domain.errors import EngineUnavailable, HostsUnavailable, PyMigrateError, from_reason
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.executor import ENDED_REASONS
from pymigrate.engine.ports.tracing import present_span
from pymigrate.v1 import worker_pb2

LOSSES_MAX = 2
# How long whoever asks waits while it is told why no host comes: the cluster has often only begun to say why.
VAIN_SECONDS_MAX = 5.0
# The same while all that is told is how the last hosts ended: others are on their way then.
REPLACED_SECONDS_MAX = 30.0


@dataclass(slots=True)
class Inquiry:
    """A question on its way. `fence` counts the hosts that were given it, each of which `on_lease` is called before."""

    message: worker_pb2.Task
    affinity: str
    answer: "asyncio.Future[worker_pb2.TaskResult]"
    on_lease: Callable[[], None]
    host: str = ""
    losses: int = 0


class Inquiries:
    """Questions and who has them."""

    def __init__(self, new_id: NewId, on_work: Callable[[], None]) -> None:
        self._new_id = new_id
        self._on_work = on_work
        self._open: dict[str, Inquiry] = {}
        self._troubles: Mapping[str, Sequence[Failure]] = {}
        self._vain_since: dict[str, float] = {}

    async def ask(
        self,
        message: worker_pb2.Task,
        affinity: str,
        timeout_seconds: float,
        on_lease: Callable[[], None] = lambda: None,
    ) -> worker_pb2.TaskResult:
        """Waits for a host's answer; `on_lease` is called when one takes the question. Raises what the host found wrong,
        EngineUnavailable when none answered in time, and of that HostsUnavailable, soon, while it is known why none comes."""
        message.id = f"inquiries/{self._new_id()}"
        message.traceparent = str(present_span() or "")
        inquiry = Inquiry(message, affinity, asyncio.get_running_loop().create_future(), on_lease)
        self._open[message.id] = inquiry
        self._on_work()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await inquiry.answer
        except TimeoutError as error:
            if not inquiry.host and (known := self._troubles.get(affinity)):
                raise _no_host(known) from error
            raise EngineUnavailable(
                f"no worker host answered within {timeout_seconds:g} s: see the logs of the worker hosts, and try again"
            ) from error
        finally:
            del self._open[message.id]

    def note_troubles(self, troubles: Mapping[str, Sequence[Failure]], served: Collection[str], now: float) -> None:
        """Why hosts do not come now, by affinity, at a time in seconds: whoever has waited in vain for long enough is told. Hosts work
        for what is `served`; there it is a matter of time, whatever keeps others away."""
        self._troubles = {affinity: told for affinity, told in troubles.items() if told}
        vain = (self._troubles.keys() & self.demand().keys()) - set(served)
        self._vain_since = {affinity: self._vain_since.get(affinity, now) for affinity in vain}
        for inquiry in self._waiting():
            known = self._troubles.get(inquiry.affinity, ())
            if inquiry.affinity in vain and now - self._vain_since[inquiry.affinity] >= _vain_seconds_max(known):
                inquiry.answer.set_exception(_no_host(known))

    def waiting(self, affinity: str) -> Inquiry | None:
        """The oldest question that a host of this affinity could take."""
        return next((found for found in self._waiting() if found.affinity == affinity), None)

    def demand(self) -> dict[str, int]:
        """How many questions wait, by affinity."""
        counts: dict[str, int] = {}
        for inquiry in self._waiting():
            counts[inquiry.affinity] = counts.get(inquiry.affinity, 0) + 1
        return counts

    def lease(self, inquiry: Inquiry, host: str, lease_seconds: float) -> worker_pb2.Task:
        """Gives a question to a host."""
        inquiry.on_lease()
        inquiry.host = host
        inquiry.message.fence += 1
        inquiry.message.lease_seconds = lease_seconds
        return inquiry.message

    def holds(self, task_id: str, fence: int) -> bool:
        """Whether a question is still open under that fence."""
        inquiry = self._open.get(task_id)
        return inquiry is not None and inquiry.message.fence == fence and not inquiry.answer.done()

    def finish(self, task_id: str, fence: int, outcome: worker_pb2.TaskResult | Failure | None) -> None:
        """Hands an answer to whoever asked; a late one is dropped. None: the host drained, another one is to answer."""
        if not self.holds(task_id, fence):
            return
        inquiry = self._open[task_id]
        if outcome is None:
            inquiry.host = ""
            self._on_work()
        elif isinstance(outcome, Failure):
            inquiry.answer.set_exception(_error(outcome))
        else:
            inquiry.answer.set_result(outcome)

    def lose(self, host: str, kept: Collection[str] = ()) -> None:
        """The host is gone, or knows of nothing but what it `kept`: others are asked, but not for ever."""
        for inquiry in self._open.values():
            if inquiry.host != host or inquiry.message.id in kept or inquiry.answer.done():
                continue
            inquiry.host = ""
            inquiry.losses += 1
            if inquiry.losses > LOSSES_MAX:
                inquiry.answer.set_exception(
                    EngineUnavailable(
                        "every worker host that tried ended without an answer: see the logs of the worker hosts"
                    )
                )
        self._on_work()

    def _waiting(self) -> Iterator[Inquiry]:
        return (found for found in self._open.values() if not found.host and not found.answer.done())


def _error(failure: Failure) -> PyMigrateError:
    return from_reason(failure.reason, failure.message, field=failure.field, is_temporary=failure.is_temporary)


def _vain_seconds_max(known: Sequence[Failure]) -> float:
    is_replaced = all(each.reason in ENDED_REASONS for each in known)
    return REPLACED_SECONDS_MAX if is_replaced else VAIN_SECONDS_MAX


def _no_host(known: Sequence[Failure]) -> HostsUnavailable:
    """Told first is what keeps hosts away, and not how one ended."""
    told = next((each for each in known if each.reason not in ENDED_REASONS), known[0])
    return HostsUnavailable(told.reason, f"no worker host comes: {told.message}")
