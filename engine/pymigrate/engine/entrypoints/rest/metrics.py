"""The page of metrics over HTTP, for whoever may read everything, and a server for it alone where REST is off."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from pymigrate.engine.application.access.authorizer import Authorizer, GrantsOf
from pymigrate.engine.application.caller import MANAGED_BY_DEFAULT
from pymigrate.engine.domain.access import EVERYWHERE, Permission
from pymigrate.engine.domain.errors import NotFound, PyMigrateError
from pymigrate.engine.entrypoints.identity import AUTHORIZATION, Identifies, note_caller
from pymigrate.engine.entrypoints.rest.listening import Listener
from pymigrate.engine.entrypoints.rest.peers import peer_of
from pymigrate.engine.entrypoints.rest.problems import Refused, problem_response
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate
from pymigrate.engine.ports.metrics import Exposition

PATH = "/metrics"
LIVENESS = "/livez"
SETTING = "PYMIGRATE_METRICS_LISTEN"


class MetricsAnswer:
    """An ASGI application that answers GET and HEAD with the page, whatever path led to it."""

    def __init__(self, exposition: Exposition, bearers: Identifies, grants_of: GrantsOf) -> None:
        self._exposition = exposition
        self._bearers = bearers
        self._grants_of = grants_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        try:
            answer = await self._answer(scope)
        except PyMigrateError as error:
            answer = problem_response(error)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        headers = Headers(scope=scope)
        shown = headers.getlist(AUTHORIZATION)
        who = await self._bearers.identify(shown, MANAGED_BY_DEFAULT, peer_of(scope))
        note_caller(who)
        # The page tells of all environments at once.
        Authorizer(who, self._grants_of(who)).require((Permission.READ,), EVERYWHERE, "read the page of metrics")
        if scope["method"] not in {"GET", "HEAD"}:
            text = f"{scope['method']} is not served here: use GET"
            raise Refused(405, "METHOD_NOT_ALLOWED", text, {"allow": "GET, HEAD"})
        page = await self._exposition.page(headers.get("accept", ""), headers.get("accept-encoding", ""))
        told = {"content-type": page.content_type, "cache-control": "no-store", "vary": "accept, accept-encoding"}
        if page.encoding:
            told["content-encoding"] = page.encoding
        return Response(page.body, headers=told)


class MetricsServer:
    """Serves the page, and liveness, on an address of its own."""

    def __init__(
        self,
        exposition: Exposition,
        bearers: Identifies,
        grants_of: GrantsOf,
        certificate: ServerCertificate | None = None,
    ) -> None:
        self._answer = MetricsAnswer(exposition, bearers, grants_of)
        self._listener = Listener(self._serve, "metrics", SETTING, certificate)

    async def start(self, listen: str) -> int:
        """Binds and serves; the port that was bound. Raises PermanentError when the address is taken."""
        return await self._listener.start(listen)

    async def stop(self) -> None:
        """Lets requests under way end, and stops."""
        await self._listener.stop()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == PATH:
            await self._answer(scope, receive, send)
        elif scope["path"] == LIVENESS:
            await PlainTextResponse("alive\n")(scope, receive, send)
        else:
            nothing = NotFound(f"nothing but {PATH} and {LIVENESS} is served on this address", field="path")
            await problem_response(nothing)(scope, receive, send)
