"""Who may call without being counted: worker hosts and dispatchers, in what is for them, and nobody who only calls the same."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application.access.authorizer import own_grants
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.errors import TooManyCalls
from pymigrate.engine.entrypoints.call_limits import CallLimits, LimitTerms, limited
from pymigrate.engine.entrypoints.grpc.server import descriptors
from pymigrate.engine.entrypoints.identity import note_caller
from pymigrate.engine.testing.clock import ManualClock

CALLS = 50
TERMS = LimitTerms(calls_max=2, streams_max=1, calls_per_second_max=4.0)
SERVICES = ("WorkerService", "DispatchService")
Method = Callable[[object, object], Awaitable[Empty]]


class Answering:
    """Answers each call of a service at once."""

    def __getattr__(self, name: str) -> Method:
        async def answer(request: object, context: object) -> Empty:
            return Empty()

        return answer


def flood(service: str, principal: str) -> None:
    """Many calls of one method, at one moment."""
    servicers = {service: Answering()}
    found = limited(servicers, descriptors(servicers), CallLimits(TERMS, ManualClock()), own_grants)
    call: Method = getattr(
        found[service], {"WorkerService": "Heartbeat", "DispatchService": "ClaimDeliveries"}[service]
    )

    async def calls() -> None:
        note_caller(Caller(principal))
        for _ in range(CALLS):
            await call(Empty(), None)

    asyncio.run(calls())


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("principal", ["worker/h", "dispatcher/d"])
def test_what_the_engine_starts_is_not_counted(service: str, principal: str) -> None:
    flood(service, principal)


@pytest.mark.parametrize("service", SERVICES)
def test_who_may_not_work_does_not_flood_the_engine_by_the_calls_of_those_who_may(service: str) -> None:
    with pytest.raises(TooManyCalls):
        flood(service, "service/somebody")
