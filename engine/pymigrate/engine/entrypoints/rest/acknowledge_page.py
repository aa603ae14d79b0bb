"""The page behind the link in a message: `/acknowledge/<token>`. Whoever opens it is asked, and only what they send then acknowledges:
mail scanners open every link, and nothing may come of that.

The link itself is what lets them in, so the page is kept nowhere, names itself to nobody and runs nothing.
"""

import html
from http import HTTPStatus
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from pymigrate.engine.application.acknowledging import PATH, named_delivery
from pymigrate.engine.domain.errors import PyMigrateError, Unauthenticated
from pymigrate.engine.entrypoints.identity import Identifies, note_caller
from pymigrate.engine.entrypoints.rest.peers import peer_of
from pymigrate.engine.entrypoints.rest.problems import status_of
from pymigrate.v1 import notification_pb2

log = structlog.get_logger(__name__)
METHODS = ("GET", "HEAD", "POST")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; form-action 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
}
STYLE = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem;color:#1b1f24}"
    "button{font:inherit;padding:.6rem 1.4rem;border:0;border-radius:.4rem;background:#0b57d0;color:#fff}"
)
PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>{title}</title><style>{style}</style></head><body><h1>{title}</h1>{body}</body></html>\n"
)
ASKING = (
    "<p>You were told that something needs you. Say that you have seen it and act: nobody else is told of it then.</p>"
    '<form method="post"><button type="submit">I act</button></form>'
)


class AcknowledgePage:
    """An ASGI application for paths that begin with PATH. `notifications` serves NotificationService, in this process or another."""

    def __init__(self, notifications: Any, bearers: Identifies) -> None:
        self._notifications = notifications
        self._bearers = bearers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        await (await self._answer(Request(scope, receive)))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method not in METHODS:
            return _page(
                HTTPStatus.METHOD_NOT_ALLOWED, "Not served here", _text("Open the link."), {"allow": ", ".join(METHODS)}
            )
        token = request.url.path.removeprefix(PATH)
        try:
            name = named_delivery(token)
        except Unauthenticated as error:
            return _page(HTTPStatus.NOT_FOUND, "No such link", _text(error.message))
        if request.method != "POST":
            return _page(HTTPStatus.OK, "Acknowledge", ASKING)
        return await self._acknowledged(name, token, request)

    async def _acknowledged(self, name: str, token: str, request: Request) -> Response:
        note_caller(self._bearers.from_link(peer_of(request.scope)))
        asked = notification_pb2.AcknowledgeDeliveryRequest(name=name, signature=token)
        try:
            found: notification_pb2.NotificationDelivery = await self._notifications.AcknowledgeDelivery(
                asked, request.headers
            )
        except PyMigrateError as error:
            status = HTTPStatus.FORBIDDEN if isinstance(error, Unauthenticated) else status_of(error)
            return _page(status, "Not acknowledged", _text(error.message))
        except Exception as error:
            log.error("call.failed", method=f"POST {PATH}", error=type(error).__name__, exc_info=error)
            return _page(
                HTTPStatus.INTERNAL_SERVER_ERROR, "Not acknowledged", _text("The engine failed: its log tells more.")
            )
        return _page(
            HTTPStatus.OK, "Acknowledged", f"{_text(found.subject)}{_text('Thank you. You may close this page.')}"
        )


def _page(status: HTTPStatus, title: str, body: str, headers: dict[str, str] | None = None) -> Response:
    text = PAGE.format(title=html.escape(title), style=STYLE, body=body)
    return HTMLResponse(text, status, HEADERS | (headers or {}))


def _text(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
