"""What kubelets and Prometheus ask the operator, over plain HTTP: whether it lives, whether it is ready, and its page of metrics.

Kubelets show no token, and the page holds figures alone, so that none is asked for.
"""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from pymigrate.engine.entrypoints.rest.listening import Listener
from pymigrate.engine.ports.metrics import Exposition

LIVENESS = "/healthz"
READINESS = "/readyz"
METRICS = "/metrics"
SETTING = "PYMIGRATE_OPERATOR_LISTEN"
Trouble = Callable[[], str]
"""Why something does not hold; empty where it does."""


class ProbeServer:
    """Serves them on an address of their own. An operator that does not lead is ready: it takes over when it has to."""

    def __init__(self, life_trouble: Trouble, readiness_trouble: Trouble, exposition: Exposition) -> None:
        self._troubles = {LIVENESS: life_trouble, READINESS: readiness_trouble}
        self._exposition = exposition
        self._listener = Listener(self, "probes and metrics", SETTING)

    async def start(self, listen: str) -> int:
        """Binds and serves; the port that was bound. Raises PermanentError when the address is taken."""
        return await self._listener.start(listen)

    async def stop(self) -> None:
        """Lets requests under way end, and stops."""
        await self._listener.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        await (await self._answer(scope))(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("use GET\n", 405, {"allow": "GET, HEAD"})
        if scope["path"] == METRICS:
            return await self._page(Headers(scope=scope))
        trouble = self._troubles.get(scope["path"])
        if trouble is None:
            return PlainTextResponse(f"there are {', '.join((*self._troubles, METRICS))}\n", 404)
        said = trouble()
        return PlainTextResponse(f"{said or 'ok'}\n", 503 if said else 200)

    async def _page(self, headers: Headers) -> Response:
        page = await self._exposition.page(headers.get("accept", ""), headers.get("accept-encoding", ""))
        told = {"content-type": page.content_type, "cache-control": "no-store", "vary": "accept, accept-encoding"}
        if page.encoding:
            told["content-encoding"] = page.encoding
        return Response(page.body, headers=told)
