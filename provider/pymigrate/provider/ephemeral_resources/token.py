"""pymigrate_token: a token that ends by itself, for another configuration of the provider or for whatever the apply starts."""

from functools import cache

import grpc
from tf.types import Number

from pymigrate.provider.descriptions import description_of
from pymigrate.provider.engine import Engine, refuse
from pymigrate.provider.formats import LINE
from pymigrate.provider.sdk.checks import at_least
from pymigrate.provider.sdk.ephemeral import EphemeralResource
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.provider.sdk.schema import Attribute, Moment, Schema
from pymigrate.v1 import token_pb2


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
                "A token of the engine that ends by itself. It is made at every plan and apply, is in no plan and no state, and can't be "
                "prolonged: ask for one that outlasts the apply. It needs Terraform 1.10 or newer."
            ),
        )

    def open(self, context: Context, config: State) -> State:
        """Asks the engine for one."""
        engine: Engine = self.provider.engine()
        request = token_pb2.CreateTokenRequest(
            lifetime_seconds=config.get("lifetime_seconds") or 0, purpose=config.get("purpose") or ""
        )
        try:
            made = engine.call("TokenService", "CreateToken", request)
        except grpc.RpcError as error:
            refuse(error, "A token can't be made", self.get_schema().by_name)
        return {
            **config,
            "token": made.token,
            "endpoint": engine.endpoint,
            "expire_time": made.expire_time.ToJsonString(),
            "id": made.id,
        }
