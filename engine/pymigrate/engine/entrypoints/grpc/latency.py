"""How long gRPC calls take, and how many streams are open. A stream is timed until its first answer: what follows is the caller's wish."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from pymigrate.engine.entrypoints.grpc.wrapping import Serve, WrappingInterceptor, code_of
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.metric_families import GRPC_DURATION
from pymigrate.engine.ports.metrics import Metrics

OK = grpc.StatusCode.OK.name


class LatencyInterceptor(WrappingInterceptor):
    """Times every call that has a handler, those without a token too; put it before the others. `open_streams` counts those of the
    contract that are open."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self.open_streams = 0

    def unary(self, details: grpc.HandlerCallDetails, serve: Serve) -> Serve:
        """Serves one call with one answer."""
        labels = _labels(details)

        async def served(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            began = self._clock.monotonic()
            code = OK
            try:
                return await serve(request, context)
            except BaseException as error:
                code = code_of(context, error).name
                raise
            finally:
                self._took(labels, code, began)

        return served

    def stream(self, details: grpc.HandlerCallDetails, serve: Serve) -> Serve:
        """Serves one call that answers again and again."""
        labels = _labels(details)

        async def served(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            began = self._clock.monotonic()
            is_timed = False
            self.open_streams += 1
            try:
                async with aclosing(serve(request, context)) as answers:
                    async for answer in answers:
                        if not is_timed:
                            is_timed = True
                            self._took(labels, OK, began)
                        yield answer
                if not is_timed:
                    is_timed = True
                    self._took(labels, OK, began)
            except BaseException as error:
                if not is_timed:
                    self._took(labels, code_of(context, error).name, began)
                raise
            finally:
                self.open_streams -= 1

        return served

    def _took(self, labels: tuple[str, str], code: str, began: float) -> None:
        """Counts a call that began then and ends now."""
        self._metrics.observe(GRPC_DURATION, (*labels, code), self._clock.monotonic() - began)


def _labels(details: grpc.HandlerCallDetails) -> tuple[str, str]:
    """The service's own name, and the method's."""
    service, _, method = details.method.lstrip("/").partition("/")
    return service.rpartition(".")[2], method
