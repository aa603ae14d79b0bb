"""pymigrate_token: a token that ends by itself, for another configuration of the provider or for whatever the apply starts."""

from functools import cache
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from tf.types import Number

from pymigrate.provider.descriptions import description_of
from pymigrate.provider.engine import Engine, refuse
from pymigrate.provider.formats import LINE
from pymigrate.provider.sdk.checks import at_least
from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.provider.sdk.ephemeral import EphemeralContext, EphemeralResource
from pymigrate.provider.sdk.resource import State
from pymigrate.provider.sdk.schema import Attribute, Moment, Schema
from pymigrate.v1 import token_pb2

LIFETIME_DEFAULT_SECONDS = 900
LEFT_SHARE = 1 / 3  # of its lifetime, which a token still has when it is renewed
TOKEN, LIFETIME = "token", "lifetime_seconds"  # in what is noted of it


class TokenResource(EphemeralResource):
    """Another one is made whenever it is opened: at each plan and each apply."""

    @classmethod
    def get_name(cls) -> str:
        """`token`."""
        return "token"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """What is asked for, and what comes back."""
        told = {name: description_of(f"CreateTokenRequest.{name}") for name in ("lifetime_seconds", "purpose")}
        given = {name: description_of(f"CreateTokenResponse.{name}") for name in ("token", "expire_time", "id")}
        return Schema(
            [
                Attribute(
                    "lifetime_seconds",
                    Number(),
                    optional=True,
                    check=at_least(60, or_zero=True),
                    description=told["lifetime_seconds"],
                ),
                Attribute("purpose", optional=True, check=LINE, description=told["purpose"]),
                Attribute("token", computed=True, sensitive=True, description=given["token"]),
                Attribute("endpoint", computed=True, description="Where the engine that made it listens."),
                Attribute("expire_time", Moment(), computed=True, description=given["expire_time"]),
                Attribute("id", computed=True, description=given["id"]),
            ],
            description=(
                "A token of the engine that ends by itself. It is made at every plan and apply, and is in no plan and no state. Terraform "
                "prolongs it for as long as its command runs, and ends it with the command; where Terraform is killed, it ends when its "
                "lifetime is over. It needs Terraform 1.10 or newer."
            ),
        )

    def open(self, context: EphemeralContext, config: State) -> State:
        """Asks the engine for one."""
        engine: Engine = self.provider.engine()
        lifetime = config.get("lifetime_seconds") or 0
        request = token_pb2.CreateTokenRequest(lifetime_seconds=lifetime, purpose=config.get("purpose") or "")
        made = self._call("CreateToken", request, "A token can't be made")
        context.private |= {TOKEN: made.token, LIFETIME: str(lifetime or LIFETIME_DEFAULT_SECONDS)}
        context.renew_at = _renewal(made.expire_time, context)
        return {
            **config,
            "token": made.token,
            "endpoint": engine.endpoint,
            "expire_time": made.expire_time.ToJsonString(),
            "id": made.id,
        }

    def renew(self, context: EphemeralContext) -> None:
        """Lets it hold for another lifetime."""
        seconds = float(context.private[LIFETIME])
        request = token_pb2.RenewTokenRequest(token=context.private[TOKEN], lifetime_seconds=seconds)
        context.renew_at = _renewal(
            self._call("RenewToken", request, "A token can't be prolonged").expire_time, context
        )

    def close(self, context: EphemeralContext) -> None:
        """Ends it. Where that can't be done no command fails for it: the token ends by itself."""
        try:
            self._call("EndToken", token_pb2.EndTokenRequest(token=context.private[TOKEN]), "A token was not ended")
        except Refused as refused:
            context.warn(refused.summary, f"{refused.detail.rstrip('.')}. It ends by itself when its lifetime is over.")

    def _call(self, method: str, request: Any, summary: str) -> Any:
        engine: Engine = self.provider.engine()
        try:
            return engine.call("TokenService", method, request)
        except grpc.RpcError as error:
            refuse(error, summary, self.get_schema().by_name)


def _renewal(expire_time: Timestamp, context: EphemeralContext) -> Timestamp:
    return Timestamp(seconds=expire_time.seconds - round(float(context.private[LIFETIME]) * LEFT_SHARE))
