"""How long REST calls take, by the route that was found for them. A stream is timed until its first answer."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.metric_families import REST_DURATION
from pymigrate.engine.ports.metrics import Metrics

ROUTE = "pymigrate.route"
NONE = "none"
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Latency:
    """An ASGI application that times another one, which says in the request's scope, under ROUTE, what route it found."""

    def __init__(self, application: ASGIApp, metrics: Metrics, clock: Clock) -> None:
        self._application = application
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        began = self._clock.monotonic()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in METHODS else OTHER
                labels = (method, scope.get(ROUTE, NONE), str(message["status"]))
                self._metrics.observe(REST_DURATION, labels, self._clock.monotonic() - began)
            await send(message)

        await self._application(scope, receive, timed)
