"""An engine that answers whichever calls a test names, with what the test says, several things where the call is
a stream, and keeps what it was asked."""

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory

Answer = Callable[[Any, Any], Any]


class AnsweringEngine(grpc.GenericRpcHandler):
    """Serves from `home`. `answers` are by method, such as `GetPlan`; any other call is one that this engine does not know."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.answers: dict[str, Answer] = {}
        self.asked: list[Any] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        self._server.add_generic_rpc_handlers((self,))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        home.mkdir(parents=True, exist_ok=True)
        (home / "endpoint").write_text(f"127.0.0.1:{port}")
        (home / "token").write_text("t0ken")

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call."""
        service, _, method = handler_call_details.method[1:].partition("/")
        if method not in self.answers:
            return None
        pool = descriptor_pool.Default()  # type: ignore[no-untyped-call]  # protobuf's own
        described = pool.FindServiceByName(service).methods_by_name[method]
        request_type = message_factory.GetMessageClass(described.input_type)

        def answer(request: Any, context: Any) -> Any:
            self.asked.append(request)
            return self.answers[method](request, context)

        handler = (
            grpc.unary_stream_rpc_method_handler if described.server_streaming else grpc.unary_unary_rpc_method_handler
        )
        return handler(
            answer,
            request_deserializer=request_type.FromString,
            response_serializer=lambda each: each.SerializeToString(),
        )

    def stop(self) -> None:
        """Ends calls under way, too."""
        self._server.stop(None).wait()


@contextmanager
def answering(home: Path) -> Iterator[AnsweringEngine]:
    """An engine that is gone afterwards."""
    engine = AnsweringEngine(home)
    try:
        yield engine
    finally:
        engine.stop()
