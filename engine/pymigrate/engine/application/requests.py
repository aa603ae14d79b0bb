"""Calls with a request id: the second one gets the first one's answer, and does nothing. Ids are each principal's own: nobody is answered
with what another was, and nobody takes an id away from another."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from google.protobuf.message import Message

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Unit

M = TypeVar("M", bound=Message)
REQUEST_ID_CHARACTERS_MAX = 128
KEPT_HOURS = 24


class Requests:
    """Answers to calls with a request id, kept for a day in the transaction of the call itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def once(
        self,
        unit: Unit,
        who: Caller,
        method: str,
        request: Message,
        request_id: str,
        answer: Callable[[bytes], M],
        work: Callable[[Unit], M],
    ) -> M:
        """Does the work, or returns what it returned before. `answer` reads a kept answer. Raises InvalidDefinition when the id
        was used for another request."""
        if not request_id:
            return work(unit)
        if len(request_id) > REQUEST_ID_CHARACTERS_MAX:
            raise InvalidDefinition((Problem("request_id", f"has at most {REQUEST_ID_CHARACTERS_MAX} characters"),))
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        asked = _asked(method, who)
        if kept := unit.requests.get(asked, request_id):
            if kept[0] != digest:
                raise InvalidDefinition((Problem("request_id", "was used for another request: make a new one"),))
            return answer(kept[1])
        result = work(unit)
        unit.requests.put(asked, request_id, digest, result.SerializeToString(), self._clock.now())
        return result

    def is_answered(self, unit: Unit, who: Caller, method: str, request_id: str) -> bool:
        """Whether the same principal has made the call before."""
        return unit.requests.get(_asked(method, who), request_id) is not None

    def forget_old(self, unit: Unit) -> int:
        """Drops answers that are older than a day; says how many."""
        return unit.requests.drop_before(self._clock.now() - timedelta(hours=KEPT_HOURS))


def _asked(method: str, who: Caller) -> str:
    return f"{method} by {who.principal}"
