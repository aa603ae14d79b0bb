"""One HTTP request as one call of the contract: who makes it, what it asks for, the servicer's answer, and how it fails.

The servicers are those of the gRPC server, called in this process, or an engine's behind a channel, which take the headers along in the
place of gRPC's context. Default-deny: no route is looked up for a caller without a valid credential.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from google.protobuf.empty_pb2 import Empty
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pymigrate.engine.application.caller import MANAGED_BY_DEFAULT
from pymigrate.engine.domain.errors import InvalidDefinition, Problem, PyMigrateError
from pymigrate.engine.entrypoints.call_spans import note_request_id
from pymigrate.engine.entrypoints.identity import AUTHORIZATION, MANAGED_BY, Identifies, note_caller
from pymigrate.engine.entrypoints.redacted import Clean, redacted
from pymigrate.engine.entrypoints.rest.answers import Writer
from pymigrate.engine.entrypoints.rest.bindings import Binding, Routes
from pymigrate.engine.entrypoints.rest.bodies import read_body
from pymigrate.engine.entrypoints.rest.headers import etag_of, is_known
from pymigrate.engine.entrypoints.rest.latency import ROUTE
from pymigrate.engine.entrypoints.rest.lines import Lines, answers_in_lines, asks_for_lines
from pymigrate.engine.entrypoints.rest.peers import peer_of
from pymigrate.engine.entrypoints.rest.problems import Refused, problem_response
from pymigrate.engine.entrypoints.rest.requests import Given, read_request
from pymigrate.engine.entrypoints.rest.streams import EVENTS, Form, Streams
from pymigrate.engine.entrypoints.rest.tracing import METHOD

log = structlog.get_logger(__name__)
BODY_BYTES_MAX = 16 * 1024 * 1024
QUERY_BYTES_MAX = 16 * 1024
JSON = "application/json"
LINES = Lines()


class Calls:
    """An ASGI application that serves the bindings by the servicers, which are given by their service's name."""

    def __init__(
        self, servicers: Mapping[str, Any], routes: Routes, bearers: Identifies, streams: Streams, clean: Clean = str
    ) -> None:
        self._servicers = servicers
        self._routes = routes
        self._bearers = bearers
        self._streams = streams
        self._writer = Writer()
        self._clean = clean

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        try:
            await self._serve(scope, receive, send)
        except PyMigrateError as error:
            await problem_response(redacted(error, self._clean))(scope, receive, send)
        except Exception as error:
            method = f"{scope['method']} {scope['path']}"
            log.error("call.failed", method=method, error=type(error).__name__, exc_info=error)
            failure = PyMigrateError("the engine failed in this call: its log tells more")
            await problem_response(failure)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        side = headers.get(MANAGED_BY, MANAGED_BY_DEFAULT)
        note_caller(await self._bearers.identify(headers.getlist(AUTHORIZATION), side, peer_of(scope)))
        binding, variables = self._routes.find(scope["method"], scope["raw_path"].decode("latin-1"))
        scope[ROUTE] = binding.template.text
        scope[METHOD] = f"{binding.method.containing_service.full_name}/{binding.method.name}"
        body = await read_body(headers, receive, BODY_BYTES_MAX)
        given = Given(variables, _query(scope), headers, body)
        request = read_request(binding, given)
        note_request_id(request)
        call = getattr(self._servicers[binding.service], binding.method.name)
        if binding.is_stream:
            in_lines = answers_in_lines(binding.method.output_type) and asks_for_lines(headers)
            form: Form = LINES if in_lines else EVENTS
            await self._streams.serve(call(request, headers), scope, receive, send, form)
            return
        answer = await call(request, headers)
        await self._response(binding, answer, headers)(scope, receive, send)

    def _response(self, binding: Binding, answer: Any, headers: Headers) -> Response:
        if isinstance(answer, Empty):
            return Response(status_code=204)
        etag = etag_of(answer)
        told = {"etag": etag, "cache-control": "no-cache"} if etag else {"cache-control": "no-store"}
        if binding.http_method == "GET" and is_known(headers, etag):
            return Response(status_code=304, headers=told)
        return Response(self._writer.encoded(answer), 200, told, JSON)


def _query(scope: Scope) -> list[tuple[str, str]]:
    text: bytes = scope["query_string"]
    if len(text) > QUERY_BYTES_MAX:
        raise Refused(414, "QUERY_TOO_LONG", f"a query has at most {QUERY_BYTES_MAX:,} bytes")
    try:
        text.decode("ascii")
        return QueryParams(text).multi_items()
    except ValueError as error:  # a byte beyond ASCII, or too many parameters
        raise InvalidDefinition((Problem("query", "can't be read: write it percent-encoded"),)) from error
