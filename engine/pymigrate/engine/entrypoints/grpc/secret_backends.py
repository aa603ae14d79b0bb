"""SecretBackendService."""

from typing import Any

from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application import works
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.declared_backends import TaskBackends
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.secret_backend_kinds import SECRET_BACKENDS
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import at_environment, environment_of, last_segment
from pymigrate.engine.entrypoints.grpc.declared import DeclaredCalls
from pymigrate.engine.ports.secrets import secret_ref_of
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import secret_backend_pb2 as pb
from pymigrate.v1 import secret_backend_pb2_grpc

ANSWER_TIMEOUT_SECONDS = 90.0  # a login and a read, each as long as a backend may take


class SecretBackendCalls(secret_backend_pb2_grpc.SecretBackendServiceServicer):
    """SecretBackendService."""

    def __init__(self, store: Store, catalog: Catalog, requests: Requests, inquiries: Inquiries) -> None:
        self._store = store
        self._catalog = catalog
        self._inquiries = inquiries
        self._tasks = TaskBackends(store)
        self._backends = DeclaredCalls(store, catalog, requests, SECRET_BACKENDS)

    async def CreateSecretBackend(self, request: Any, context: Any) -> pb.SecretBackend:
        return await self._backends.create(request)

    async def GetSecretBackend(self, request: Any, context: Any) -> pb.SecretBackend:
        return await self._backends.get(request)

    async def ListSecretBackends(self, request: Any, context: Any) -> pb.ListSecretBackendsResponse:
        found, token = await self._backends.list(request)
        return pb.ListSecretBackendsResponse(secret_backends=found, next_page_token=token)

    async def UpdateSecretBackend(self, request: Any, context: Any) -> pb.SecretBackend:
        return await self._backends.update(request)

    async def DeleteSecretBackend(self, request: Any, context: Any) -> Empty:
        return await self._backends.delete(request)

    async def TestSecretBackend(self, request: Any, context: Any) -> pb.TestSecretBackendResponse:
        backend = await self._store.read(lambda unit: self._catalog.usable(unit, SECRET_BACKENDS, request.name))
        scheme, ref = last_segment(backend.name), secret_ref_of(request.reference)
        if request.reference and (ref is None or ref.scheme != scheme):
            said = f"is no reference into this backend: write it as {scheme}://…, and never the secret itself"
            raise InvalidDefinition((Problem("reference", said),))
        task = await self._tasks.brought(environment_of(backend.name), scheme, request.reference)
        result = await self._inquiries.ask(task, at_environment(works.SHARED, backend.name), ANSWER_TIMEOUT_SECONDS)
        return result.test_secrets
