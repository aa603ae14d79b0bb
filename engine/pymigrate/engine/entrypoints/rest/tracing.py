"""The spans of REST calls: what the caller's headers say of its trace, and how each call ended."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pymigrate.engine.entrypoints.call_spans import CallSpans
from pymigrate.engine.ports.tracing import TRACEPARENT

METHOD = "pymigrate.method"
SERVER_ERRORS_FROM = 500
UNKNOWN_METHOD = "unknown"


class Traced:
    """An ASGI application with a span around each request. The application puts the contract's method into the scope under METHOD."""

    def __init__(self, application: ASGIApp, spans: CallSpans) -> None:
        self._application = application
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        call = self._spans.begin(Headers(scope=scope).getlist(TRACEPARENT))
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._application(scope, receive, noted)
        finally:
            attributes = {"http.request.method": scope["method"], "http.response.status_code": status}
            is_failed = not status or status >= SERVER_ERRORS_FROM
            failure = (str(status) if status else "ended without an answer") if is_failed else ""
            self._spans.end(call, scope.get(METHOD, UNKNOWN_METHOD), attributes, failure)
