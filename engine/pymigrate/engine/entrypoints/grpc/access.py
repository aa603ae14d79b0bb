"""AccessService."""

from typing import Any

from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application.access.authorizer import GrantsOf
from pymigrate.engine.application.access.role_binding_writes import RoleBindingWrites
from pymigrate.engine.application.access.service_tokens import ServiceTokens
from pymigrate.engine.entrypoints.grpc.role_bindings import RoleBindingCalls
from pymigrate.engine.entrypoints.identity import caller
from pymigrate.v1 import access_pb2


class AccessCalls(RoleBindingCalls):
    """AccessService: role bindings, who calls, and tokens of services."""

    def __init__(self, service_tokens: ServiceTokens, bindings: RoleBindingWrites, grants_of: GrantsOf) -> None:
        super().__init__(bindings, grants_of)
        self._service_tokens = service_tokens

    async def CreateServiceToken(self, request: Any, context: Any) -> access_pb2.CreateServiceTokenResponse:
        return await self._service_tokens.create(request, caller())

    async def GetServiceToken(self, request: Any, context: Any) -> access_pb2.ServiceToken:
        return await self._service_tokens.get(request.name)

    async def ListServiceTokens(self, request: Any, context: Any) -> access_pb2.ListServiceTokensResponse:
        return await self._service_tokens.list(request)

    async def RotateServiceToken(self, request: Any, context: Any) -> access_pb2.CreateServiceTokenResponse:
        return await self._service_tokens.rotate(request, caller())

    async def DeleteServiceToken(self, request: Any, context: Any) -> Empty:
        await self._service_tokens.delete(request.name, caller())
        return Empty()
