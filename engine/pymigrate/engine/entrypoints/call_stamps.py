"""What the audit trail is told of the call that is being served: noted at the door, and read when a unit of work begins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from pymigrate.engine.application.audit.stamping import Stamp
from pymigrate.engine.entrypoints.authorized import Asked
from pymigrate.engine.ports.tracing import present_span

TEXT_CHARACTERS_MAX = 200
_stamp: ContextVar[Stamp | None] = ContextVar("stamp", default=None)


def present_stamp() -> Stamp | None:
    """The call that the present task serves; None where the engine works by itself."""
    return _stamp.get()


class Stamping:
    """Notes each call at the door."""

    @asynccontextmanager
    async def around(self, asked: Asked) -> AsyncIterator[None]:
        """From here on, for all that the task does."""
        _stamp.set(stamp_of(asked))
        yield


def stamp_of(asked: Asked) -> Stamp:
    """A call as the trail tells of it: the address that it came from and the side that it spoke for."""
    who, span = asked.caller, present_span()
    origin = f"{who.origin} ({who.managed_by})" if who.origin else f"({who.managed_by})"
    request_id = str(getattr(asked.request, "request_id", ""))[:TEXT_CHARACTERS_MAX]
    return Stamp(who.principal, origin, asked.method, request_id, span.trace_id if span is not None else "")
