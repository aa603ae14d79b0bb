"""Where hosts of repositories post to: `/webhooks/{git_source}`, outside the bearer's scheme, since a host shows a signature and no token.

Whoever is refused is told the same after the same time, whether there is such a source or not.
"""

import asyncio
from typing import Protocol, assert_never

import orjson
import structlog
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pymigrate.engine.application.gitops.webhook_posts import Post, Reception, Taken
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.entrypoints.redacted import Clean, redacted
from pymigrate.engine.entrypoints.rest.bodies import read_body
from pymigrate.engine.entrypoints.rest.latency import ROUTE
from pymigrate.engine.entrypoints.rest.problems import Refused, problem_response
from pymigrate.engine.ports.clock import Clock

log = structlog.get_logger(__name__)
PATH = "/webhooks/"
TEMPLATE = "/webhooks/{git_source}"
# GitHub posts up to 25 MB, but a push of a thousand commits has less than this; what is larger is found by looking at intervals.
BODY_BYTES_MAX = 5 * 1024 * 1024
BODY_SECONDS_MAX = 10.0
READING_MAX = 16
ID_CHARACTERS_MAX = 63
REFUSED_SECONDS = 0.1
RETRY_SECONDS = 5
MEDIA_TYPE = "application/json"
UNSIGNED = "this is not signed by whom it should be"


class TakesPosts(Protocol):
    """What is posted to."""

    def admit(self, source_id: str) -> bool:
        """Whether one more post to a source is looked at now."""
        ...

    async def receive(self, source_id: str, post: Post) -> Reception:
        """Takes one."""
        ...


class WebhookEndpoint:
    """An ASGI application for paths that begin with PATH."""

    def __init__(self, webhooks: TakesPosts, clock: Clock, clean: Clean = str) -> None:
        self._webhooks = webhooks
        self._clock = clock
        self._clean = clean
        self._reading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        scope[ROUTE] = TEMPLATE
        began = self._clock.monotonic()
        try:
            response = await self._answer(scope, receive)
        except PyMigrateError as error:
            response = problem_response(redacted(error, self._clean))
        except Exception as error:
            log.error("call.failed", method=f"POST {PATH}", error=type(error).__name__, exc_info=error)
            response = problem_response(PyMigrateError("the engine failed in this call: its log tells more"))
        if response.status_code == 401:
            await self._clock.sleep(REFUSED_SECONDS - (self._clock.monotonic() - began))
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        source_id: str = scope["path"].removeprefix(PATH)[: ID_CHARACTERS_MAX + 1]
        headers = Headers(scope=scope)
        if scope["method"] != "POST":
            raise Refused(
                405, "METHOD_NOT_ALLOWED", f"{scope['method']} is not served here: use POST", {"allow": "POST"}
            )
        if not self._webhooks.admit(source_id):
            raise _too_many()
        if self._reading >= READING_MAX:
            raise _busy()
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != MEDIA_TYPE or "content-encoding" in headers:
            said = f"a webhook posts plain `{MEDIA_TYPE}`: choose that as its content type"
            raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", said, {"accept": MEDIA_TYPE})
        self._reading += 1
        try:
            body = await _body(headers, receive)
            post = Post({name.lower(): value for name, value in headers.items()}, body)
            return _response(await self._webhooks.receive(source_id, post))
        finally:
            self._reading -= 1


def _response(reception: Reception) -> Response:
    match reception.taken:
        case Taken.REFUSED:
            raise Refused(401, "UNAUTHENTICATED", UNSIGNED)
        case Taken.MALFORMED:
            raise Refused(400, "INVALID_DEFINITION", reception.said)
        case Taken.UNREADABLE:
            raise Refused(503, "SECRETS_UNAVAILABLE", reception.said, {"retry-after": str(RETRY_SECONDS)})
        case Taken.TOO_MANY:
            raise _too_many()
        case Taken.TAKEN | Taken.KNOWN | Taken.IGNORED:
            status = 202 if reception.taken is Taken.TAKEN else 200
        case _:
            assert_never(reception.taken)
    return Response(orjson.dumps({"result": reception.taken.value}), status, {"cache-control": "no-store"}, MEDIA_TYPE)


async def _body(headers: Headers, receive: Receive) -> bytes:
    """The body as it came. Raises Refused as soon as it is known to be too large, or too slow. What was cut off is signed by nobody."""
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await read_body(headers, receive, BODY_BYTES_MAX)
    except TimeoutError as error:
        raise Refused(408, "BODY_TOO_SLOW", f"the body was not here within {BODY_SECONDS_MAX:g} s") from error


def _too_many() -> Refused:
    said = "more is posted than is looked at: the repository is looked at in any case"
    return Refused(429, "TOO_MANY_POSTS", said, {"retry-after": str(RETRY_SECONDS)})


def _busy() -> Refused:
    said = f"{READING_MAX} posts are being read already: post it again"
    return Refused(503, "TOO_MANY_POSTS", said, {"retry-after": "1"})
