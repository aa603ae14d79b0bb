"""An engine of the impact calls alone: it answers what a test says, keeps what it was asked, and is found by its home like any other."""

import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from tf.gen import tfplugin_pb2 as pb
from tf.utils import Diagnostics, to_dynamic_value

from pymigrate.provider.comparing import Comparisons
from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.v1 import impact_pb2, impact_pb2_grpc


class ImpactEngine(impact_pb2_grpc.ImpactServiceServicer):
    """Serves from `home` until it is stopped. Set `analyze` and `compare` to what answers, or raise by `refuse`."""

    def __init__(self, home: Path, *, has_impact: bool = True) -> None:
        self.home = home
        self.asked: list[Any] = []
        self.seconds_left: list[float] = []
        self.under_way = threading.Event()
        self.analyze: Callable[[Any, Any], impact_pb2.Impact] = lambda request, call: impact_pb2.Impact()
        self.compare: Callable[[Any, Any], impact_pb2.CompareImpactResponse] = lambda request, call: (
            impact_pb2.CompareImpactResponse()
        )
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        if has_impact:
            impact_pb2_grpc.add_ImpactServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        home.mkdir(parents=True, exist_ok=True)
        (home / "endpoint").write_text(f"127.0.0.1:{port}")
        (home / "token").write_text("t0ken")

    def AnalyzeImpact(self, request: Any, context: Any) -> impact_pb2.Impact:
        self._note(request, context)
        return self.analyze(request, context)

    def CompareImpact(self, request: Any, context: Any) -> impact_pb2.CompareImpactResponse:
        self._note(request, context)
        return self.compare(request, context)

    def ForecastRun(self, request: Any, context: Any) -> impact_pb2.RunForecast:
        raise NotImplementedError("no test asks for it")

    def GetRunEstimate(self, request: Any, context: Any) -> impact_pb2.RunEstimate:
        raise NotImplementedError("no test asks for it")

    def stop(self) -> None:
        """Ends calls under way, too."""
        self._server.stop(None).wait()

    def _note(self, request: Any, context: Any) -> None:
        self.asked.append(request)
        self.seconds_left.append(context.time_remaining())
        self.under_way.set()


def refuse(code: grpc.StatusCode, text: str) -> Callable[[Any, Any], Any]:
    """An answer that is an error."""

    def answer(request: Any, call: Any) -> Any:
        call.abort(code, text)

    return answer


def refuse_field(field: str, description: str) -> Callable[[Any, Any], Any]:
    """An answer that names a field that is wrong, as the engine's own errors do."""

    def answer(request: Any, call: Any) -> Any:
        status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=f"{field}: {description}")
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field=field, description=description)
        status.details.add().Pack(bad)
        call.abort_with_status(rpc_status.to_status(status))

    return answer


def stay_away(request: Any, call: Any) -> Any:
    """An answer that never comes; the call ends with its caller."""
    gone = threading.Event()
    call.add_callback(gone.set)
    gone.wait(60)
    call.abort(grpc.StatusCode.CANCELLED, "gone")


def configured(home: Path, comparisons: Comparisons | None = None, **settings: Any) -> Servicer:
    """The provider, configured as Terraform does it."""
    provider = PymigrateProvider(comparisons or Comparisons(gather_seconds=0))
    servicer = Servicer(provider)
    attributes = provider.get_provider_schema(Diagnostics()).by_name
    config = to_dynamic_value(dict.fromkeys(attributes) | {"home": str(home)} | settings)
    answer = servicer.ConfigureProvider(pb.ConfigureProvider.Request(config=config), None)
    assert not answer.diagnostics, answer.diagnostics
    return servicer
