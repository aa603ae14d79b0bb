"""Who may call without being counted: worker hosts and dispatchers, in what is for them, and nobody who only calls the same."""

import asyncio

import pytest
from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application.access.authorizer import own_grants
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.errors import TooManyCalls
from pymigrate.engine.entrypoints.authorized import Asked
from pymigrate.engine.entrypoints.call_limits import CallLimits, Limiting, LimitTerms
from pymigrate.engine.entrypoints.method_rules import RULES
from pymigrate.engine.testing.clock import ManualClock

CALLS = 50
TERMS = LimitTerms(calls_max=2, streams_max=1, calls_per_second_max=4.0)
METHODS = {"WorkerService": "Heartbeat", "DispatchService": "ClaimDeliveries"}
SERVICES = tuple(METHODS)


def flood(service: str, principal: str) -> int:
    """Many calls of one method, at one moment; how many were let in."""
    guard, method = Limiting(CallLimits(TERMS, ManualClock()), own_grants), METHODS[service]
    asked = Asked(f"{service}/{method}", RULES[service][method], Empty(), Caller(principal))

    async def calls() -> int:
        for _ in range(CALLS):
            async with guard.around(asked):
                pass
        return CALLS

    return asyncio.run(calls())


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("principal", ["worker/h", "dispatcher/d"])
def test_what_the_engine_starts_is_not_counted(service: str, principal: str) -> None:
    assert flood(service, principal) == CALLS


@pytest.mark.parametrize("service", SERVICES)
def test_who_may_not_work_does_not_flood_the_engine_by_the_calls_of_those_who_may(service: str) -> None:
    with pytest.raises(TooManyCalls):
        flood(service, "service/somebody")
