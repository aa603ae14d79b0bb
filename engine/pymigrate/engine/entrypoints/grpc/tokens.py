"""TokenService."""

from typing import Any

from pymigrate.engine.application.short_tokens import TokenMaking
from pymigrate.engine.entrypoints.identity import caller
from pymigrate.v1 import token_pb2, token_pb2_grpc


class TokenCalls(token_pb2_grpc.TokenServiceServicer):
    """TokenService."""

    def __init__(self, making: TokenMaking) -> None:
        self._making = making

    async def CreateToken(self, request: Any, context: Any) -> token_pb2.CreateTokenResponse:
        return await self._making.create(request, caller())
