"""TokenService."""

from typing import Any

from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application.short_tokens import TokenMaking
from pymigrate.engine.entrypoints.identity import caller
from pymigrate.v1 import token_pb2, token_pb2_grpc


class TokenCalls(token_pb2_grpc.TokenServiceServicer):
    """TokenService."""

    def __init__(self, making: TokenMaking) -> None:
        self._making = making

    async def CreateToken(self, request: Any, context: Any) -> token_pb2.CreateTokenResponse:
        return await self._making.create(request, caller())

    async def RenewToken(self, request: Any, context: Any) -> token_pb2.RenewTokenResponse:
        return await self._making.renew(request, caller())

    async def EndToken(self, request: Any, context: Any) -> Empty:
        await self._making.end(request, caller())
        return Empty()
