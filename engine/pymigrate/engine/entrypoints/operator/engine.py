"""The engine as the operator asks it: over gRPC, on the side `kubernetes`, each call within a deadline, and none that writes without the
leadership."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc
import orjson
from google.protobuf.message import Message

from pymigrate.engine.application.gitops.envelopes import API_VERSION
from pymigrate.engine.domain.errors import EngineUnavailable, Unauthenticated
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.grpc.channel import EngineChannel
from pymigrate.engine.entrypoints.grpc.replies import error_of
from pymigrate.engine.entrypoints.identity import MANAGED_BY
from pymigrate.v1 import (
    connection_pb2,
    connection_pb2_grpc,
    definition_pb2,
    definition_pb2_grpc,
    environment_pb2,
    environment_pb2_grpc,
    git_source_pb2,
    git_source_pb2_grpc,
    notification_pb2,
    notification_pb2_grpc,
    plan_pb2,
    plan_pb2_grpc,
    run_pb2,
    run_pb2_grpc,
    secret_backend_pb2,
    secret_backend_pb2_grpc,
)

SIDE = "kubernetes"
CALL_SECONDS_MAX = 30.0
START_SECONDS_MAX = 300.0
ALL_RUNS = "environments/-/plans/-"
Answer = TypeVar("Answer", bound=Message)
Document = Mapping[str, Any]
"""An object in the envelope that files have."""

_SERVICES: Mapping[str, tuple[Any, Any]] = {
    "Environment": (environment_pb2, environment_pb2_grpc.EnvironmentServiceStub),
    "SecretBackend": (secret_backend_pb2, secret_backend_pb2_grpc.SecretBackendServiceStub),
    "Connection": (connection_pb2, connection_pb2_grpc.ConnectionServiceStub),
    "Department": (environment_pb2, environment_pb2_grpc.EnvironmentServiceStub),
    "Plan": (plan_pb2, plan_pb2_grpc.PlanServiceStub),
    "GitSource": (git_source_pb2, git_source_pb2_grpc.GitSourceServiceStub),
}
_NOTIFICATIONS = (notification_pb2, notification_pb2_grpc.NotificationServiceStub)


class EngineCalls:
    """The engine that is reached so, wherever it listens now. `require_leading` raises where the operator may not write any more. All
    calls raise what the engine says as a PyMigrateError, and EngineUnavailable where it does not answer: whether a write was done is then
    not known. `observe` is told of each call: its method and gRPC's word for how it ended."""

    def __init__(
        self,
        access: EngineAccess,
        require_leading: Callable[[], None] = lambda: None,
        observe: Callable[[str, str], None] = lambda _, __: None,
    ) -> None:
        self._access = access
        self._channel = EngineChannel(access)
        self._require_leading = require_leading
        self._observe = observe

    async def apply(self, *documents: Document) -> definition_pb2.ApplyDefinitionsResponse:
        """Makes objects what documents say: all of them, or none."""
        self._require_leading()
        return await self._apply(definition_pb2.ApplyDefinitionsRequest(files=map(_file, documents)))

    async def check(self, *documents: Document) -> definition_pb2.ApplyDefinitionsResponse:
        """What applying them would do, with every problem. Nothing is stored."""
        return await self._apply(
            definition_pb2.ApplyDefinitionsRequest(files=map(_file, documents), validate_only=True)
        )

    async def delete(self, word: str, name: str) -> None:
        """Deletes an object, of a plan with its phases. Raises NotFound."""
        self._require_leading()
        module, stub = _SERVICES.get(word, _NOTIFICATIONS)
        request = getattr(module, f"Delete{word}Request")(name=name)
        if word == "Plan":
            request.force = True
        await self._call(stub, f"Delete{word}", request)

    async def get(self, word: str, name: str) -> Any:
        """An object of a kind that files may declare, as the kind's message. Raises NotFound."""
        module, stub = _SERVICES.get(word, _NOTIFICATIONS)
        return await self._call(stub, f"Get{word}", getattr(module, f"Get{word}Request")(name=name))

    async def get_run(self, name: str) -> run_pb2.Run:
        """A run. Raises NotFound."""
        return await self._run("GetRun", run_pb2.GetRunRequest(name=name))

    async def start_run(self, request: run_pb2.StartRunRequest) -> run_pb2.Run:
        """Starts a run, or checks what it would do."""
        if not request.validate_only:
            self._require_leading()
        return await self._run("StartRun", request, START_SECONDS_MAX)

    async def steer_run(self, method: str, request: Message) -> run_pb2.Run:
        """One of RunService's calls that change a run, such as PauseRun."""
        self._require_leading()
        return await self._run(method, request)

    async def watch_runs(self, *, active_only: bool = False) -> AsyncGenerator[run_pb2.WatchRunsResponse]:
        """All runs as they stand, then those that change, until the engine ends it."""
        request = run_pb2.WatchRunsRequest(parent=ALL_RUNS, active_only=active_only)
        service: Any = run_pb2_grpc.RunServiceStub(self._channel.get())
        call = service.WatchRuns(request, metadata=self._metadata())
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            self._observe("WatchRuns", error.code().name)
            raise _read(error) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        """Ends every call."""
        await self._channel.close()

    async def _apply(self, request: definition_pb2.ApplyDefinitionsRequest) -> definition_pb2.ApplyDefinitionsResponse:
        answer: definition_pb2.ApplyDefinitionsResponse = await self._call(
            definition_pb2_grpc.DefinitionServiceStub, "ApplyDefinitions", request
        )
        return answer

    async def _run(self, method: str, request: Message, seconds: float = CALL_SECONDS_MAX) -> run_pb2.Run:
        found: run_pb2.Run = await self._call(run_pb2_grpc.RunServiceStub, method, request, seconds)
        return found

    async def _call(self, stub: Any, method: str, request: Message, seconds: float = CALL_SECONDS_MAX) -> Any:
        doing: Awaitable[Any] = getattr(stub(self._channel.get()), method)(
            request, timeout=seconds, metadata=self._metadata()
        )
        try:
            answer = await doing
        except grpc.aio.AioRpcError as error:
            self._observe(method, error.code().name)
            raise _read(error) from error
        self._observe(method, "OK")
        return answer

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """The token is read each time: it may be rotated, and an engine that begins anew makes another one."""
        return (("authorization", f"Bearer {self._access.token()}"), (MANAGED_BY, SIDE))


def document_of(word: str, environment: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """An object in the envelope that files have; `environment` is empty of what lies in none."""
    metadata = {"name": name} | ({"environment": environment} if environment else {})
    return {"apiVersion": API_VERSION, "kind": word, "metadata": metadata, "spec": dict(spec)}


def file_path(document: Document) -> str:
    """The path of the file that a document goes into, which is another one for each object."""
    metadata = document["metadata"]
    return "/".join((*filter(None, (metadata.get("environment"),)), document["kind"], f"{metadata['name']}.json"))


def _file(document: Document) -> definition_pb2.DefinitionFile:
    return definition_pb2.DefinitionFile(path=file_path(document), content=orjson.dumps(document))


def _read(error: grpc.aio.AioRpcError) -> Exception:
    """An engine that does not know the token has not written its own yet, or the token is being rotated: it is away too."""
    found = error_of(error)
    return EngineUnavailable(found.message) if isinstance(found, Unauthenticated) else found
