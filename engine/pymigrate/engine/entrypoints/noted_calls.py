"""Notes calls that have no effect: those that are refused, and reads of what is sensitive, over gRPC and REST alike, before the caller has
the answer. What has an effect is in the audit trail by the transaction of that."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor

from pymigrate.engine.application.audit.noting import SENSITIVE_READS, NotedCall, Noting
from pymigrate.engine.application.caller import MANAGED_BY_DEFAULT, Caller
from pymigrate.engine.domain.errors import NotPermitted, PyMigrateError, Unauthenticated
from pymigrate.engine.entrypoints.grpc.errors import code_of
from pymigrate.engine.entrypoints.identity import Identifies, caller
from pymigrate.engine.entrypoints.origins import NOWHERE, Peer
from pymigrate.engine.ports.tracing import present_span

REFUSALS = (NotPermitted, Unauthenticated)
# The fields that name what a call is about, the first that is set.
SUBJECT_FIELDS = ("name", "parent", "plan", "subject", "environment")
Method = Callable[[Any, Any], Any]


class NotedIdentity:
    """Says who calls, as `identifies` does, and notes whom nobody knows."""

    def __init__(self, identifies: Identifies, noting: Noting) -> None:
        self._identifies = identifies
        self._noting = noting

    async def identify(
        self, authorizations: Sequence[str], side: str = MANAGED_BY_DEFAULT, peer: Peer = NOWHERE
    ) -> Caller:
        """As Identifies has it."""
        try:
            return await self._identifies.identify(authorizations, side, peer)
        except Unauthenticated as error:
            call = NotedCall("", "", origin=self._identifies.from_link(peer).origin, trace_id=_trace_id())
            await self._noting.refused(call, code_of(error).name)
            raise

    def from_link(self, peer: Peer) -> Caller:
        """As Identifies has it."""
        return self._identifies.from_link(peer)


class _Noted:
    """A servicer whose refusals and sensitive reads are noted."""

    def __init__(self, servicer: Any, service: ServiceDescriptor, noting: Noting) -> None:
        for method in service.methods:
            call, name = getattr(servicer, method.name), f"{service.name}/{method.name}"
            wrap = _stream if method.server_streaming else _unary
            setattr(self, method.name, wrap(call, name, noting))


def noted(servicers: Mapping[str, Any], services: Mapping[str, ServiceDescriptor], noting: Noting) -> dict[str, Any]:
    """The servicers by name. They come from behind the door, so that what it refuses is noted too."""
    return {name: _Noted(servicer, services[name], noting) for name, servicer in servicers.items()}


def subject_of(request: Any) -> str:
    """The name that a call is about: the request's own, or that of the object which it holds; empty where it names none."""
    fields: Mapping[str, FieldDescriptor] = request.DESCRIPTOR.fields_by_name
    for name in SUBJECT_FIELDS:
        if name in fields and isinstance(value := getattr(request, name), str) and value:
            return value
    for field in fields.values():
        message = field.message_type
        if message is not None and field.label != FieldDescriptor.LABEL_REPEATED and request.HasField(field.name):
            held = getattr(request, field.name)
            if "name" in message.fields_by_name and isinstance(held.name, str) and held.name:
                return str(held.name)
    return ""


def _unary(call: Method, method: str, noting: Noting) -> Method:
    is_sensitive = method in SENSITIVE_READS

    async def served(request: Any, context: Any) -> Any:
        try:
            answer = await call(request, context)
        except REFUSALS as error:
            await _refused(noting, method, request, error)
            raise
        if is_sensitive:
            await noting.read(_noted_call(method, request))
        return answer

    return served


def _stream(call: Method, method: str, noting: Noting) -> Method:
    is_sensitive = method in SENSITIVE_READS

    async def served(request: Any, context: Any) -> AsyncIterator[Any]:
        answers: AsyncGenerator[Any, None]
        is_noted = not is_sensitive
        async with aclosing(call(request, context)) as answers:
            try:
                async for answer in answers:
                    if not is_noted:
                        await noting.read(_noted_call(method, request))
                        is_noted = True
                    yield answer
            except REFUSALS as error:
                await _refused(noting, method, request, error)
                raise

    return served


async def _refused(noting: Noting, method: str, request: Any, error: PyMigrateError) -> None:
    await noting.refused(_noted_call(method, request), code_of(error).name)


def _noted_call(method: str, request: Any) -> NotedCall:
    who = caller()
    return NotedCall(
        who.principal,
        method,
        subject_of(request),
        f"{who.origin} ({who.managed_by})" if who.origin else f"({who.managed_by})",
        str(getattr(request, "request_id", "")),
        _trace_id(),
    )


def _trace_id() -> str:
    span = present_span()
    return span.trace_id if span is not None else ""
