"""The part of AccessService that role bindings are, and who calls."""

from typing import Any

from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application.access.authorizer import GrantsOf
from pymigrate.engine.application.access.role_binding_writes import RoleBindingWrites, caller_info
from pymigrate.engine.entrypoints.identity import caller
from pymigrate.v1 import access_pb2, access_pb2_grpc


class RoleBindingCalls(access_pb2_grpc.AccessServiceServicer):
    """The calls of role bindings, and GetCaller."""

    def __init__(self, writes: RoleBindingWrites, grants_of: GrantsOf) -> None:
        self._writes = writes
        self._grants_of = grants_of

    async def CreateRoleBinding(self, request: Any, context: Any) -> access_pb2.RoleBinding:
        return await self._writes.create(request, caller())

    async def GetRoleBinding(self, request: Any, context: Any) -> access_pb2.RoleBinding:
        return await self._writes.get(request.name)

    async def ListRoleBindings(self, request: Any, context: Any) -> access_pb2.ListRoleBindingsResponse:
        found, token = await self._writes.page(request.page_size, request.page_token)
        return access_pb2.ListRoleBindingsResponse(role_bindings=found, next_page_token=token)

    async def UpdateRoleBinding(self, request: Any, context: Any) -> access_pb2.RoleBinding:
        return await self._writes.update(request, caller())

    async def DeleteRoleBinding(self, request: Any, context: Any) -> Empty:
        return await self._writes.delete(request, caller())

    async def GetCaller(self, request: Any, context: Any) -> access_pb2.CallerInfo:
        return caller_info(caller(), self._grants_of)
