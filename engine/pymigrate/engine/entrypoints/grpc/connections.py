"""ConnectionService."""

from typing import Any

from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application import works
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.declared_backends import TaskBackends
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.kinds import CONNECTIONS
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.domain.names import at_environment, environment_of
from pymigrate.engine.entrypoints.grpc.declared import DeclaredCalls
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import connection_pb2, connection_pb2_grpc, worker_pb2

ANSWER_TIMEOUT_SECONDS = 60.0


class ConnectionCalls(connection_pb2_grpc.ConnectionServiceServicer):
    """ConnectionService."""

    def __init__(self, store: Store, catalog: Catalog, requests: Requests, inquiries: Inquiries) -> None:
        self._store = store
        self._catalog = catalog
        self._inquiries = inquiries
        self._backends = TaskBackends(store)
        self._connections = DeclaredCalls(store, catalog, requests, CONNECTIONS)

    async def CreateConnection(self, request: Any, context: Any) -> connection_pb2.Connection:
        return await self._connections.create(request)

    async def GetConnection(self, request: Any, context: Any) -> connection_pb2.Connection:
        return await self._connections.get(request)

    async def ListConnections(self, request: Any, context: Any) -> connection_pb2.ListConnectionsResponse:
        found, token = await self._connections.list(request)
        return connection_pb2.ListConnectionsResponse(connections=found, next_page_token=token)

    async def UpdateConnection(self, request: Any, context: Any) -> connection_pb2.Connection:
        return await self._connections.update(request)

    async def DeleteConnection(self, request: Any, context: Any) -> Empty:
        return await self._connections.delete(request)

    async def TestConnection(self, request: Any, context: Any) -> connection_pb2.TestConnectionResponse:
        connection = await self._usable(request.name)
        await self._backends.require(environment_of(connection.name), connection, "connection.")
        task = worker_pb2.Task(test=worker_pb2.TestWork(connection=connection, secret_version=request.secret_version))
        result = await self._inquiries.ask(task, _affinity(connection), ANSWER_TIMEOUT_SECONDS)
        return result.test

    async def DiscoverSchema(self, request: Any, context: Any) -> connection_pb2.DiscoverSchemaResponse:
        connection = await self._usable(request.name)
        await self._backends.require(environment_of(connection.name), connection, "connection.")
        work = worker_pb2.DiscoverWork(connection=connection, relation_glob=request.relation_glob)
        task = worker_pb2.Task(discover=work)
        result = await self._inquiries.ask(task, _affinity(connection), ANSWER_TIMEOUT_SECONDS)
        return result.discover

    async def _usable(self, name: str) -> connection_pb2.Connection:
        return await self._store.read(lambda unit: self._catalog.usable(unit, CONNECTIONS, name))


def _affinity(connection: connection_pb2.Connection) -> str:
    return at_environment(works.reader_affinity(connection), connection.name)
