"""An engine whose callers an OIDC issuer vouches for, and what becomes of a token that is shown to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from pymigrate.engine.adapters.identity.issuer_documents import IssuerDocuments, IssuerTerms
from pymigrate.engine.adapters.identity.oidc import OidcAuthenticator, OidcTerms
from pymigrate.engine.adapters.identity.published_keys import PublishedKeys
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.entrypoints.grpc.server import Server
from pymigrate.engine.entrypoints.identity import Bearers, caller
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.v1 import environment_pb2, environment_pb2_grpc
from tests.issuers import AUDIENCE, Issuer

TOKEN = "a-token-of-the-test"
ALGORITHMS = ("RS256", "ES256")
NOBODY = Caller("nobody")


class Environments(environment_pb2_grpc.EnvironmentServiceServicer):
    """Keeps who called."""

    who = NOBODY

    async def ListEnvironments(self, request: Any, context: Any) -> environment_pb2.ListEnvironmentsResponse:
        self.who = caller()
        return environment_pb2.ListEnvironmentsResponse()


class Shown:
    """A served engine, and whoever shows it a token. The time stands still until it is moved."""

    def __init__(
        self, issuer: Issuer, channel: grpc.aio.Channel, environments: Environments, clock: ManualClock
    ) -> None:
        self.issuer = issuer
        self.clock = clock
        self._stub = environment_pb2_grpc.EnvironmentServiceStub(channel)
        self._environments = environments

    def right(self, **changed: Any) -> str:
        """A token that lets its holder in, unless it says something else than it should."""
        return self.issuer.token(self.clock.now(), **changed)

    async def caller_by(self, token: str) -> Caller:
        """Who calls that shows it. Raises what gRPC does."""
        self._environments.who = NOBODY
        metadata = (("authorization", f"Bearer {token}"),)
        await self._stub.ListEnvironments(environment_pb2.ListEnvironmentsRequest(), metadata=metadata)
        return self._environments.who

    async def refusal(self, token: str) -> tuple[grpc.StatusCode, str]:
        """How it ends, where nobody is let in."""
        try:
            who = await self.caller_by(token)
        except grpc.aio.AioRpcError as error:
            assert self._environments.who is NOBODY
            return error.code(), error.details() or ""
        raise AssertionError(f"{who} was let in")

    async def refuses(self, token: str) -> bool:
        """Whether nobody is let in, because of the token."""
        return (await self.refusal(token))[0] is grpc.StatusCode.UNAUTHENTICATED


@asynccontextmanager
async def shown_to_an_engine(
    issuer: Issuer, algorithms: tuple[str, ...] = ALGORITHMS, **terms: Any
) -> AsyncIterator[Shown]:
    """While it serves."""
    clock, environments = ManualClock(), Environments()  # type: ignore[abstract]  # the one call that is made
    documents = IssuerDocuments(IssuerTerms(issuer.url, algorithms, terms.pop("keys_url", "")))
    keys = PublishedKeys(documents, issuer.url, clock)
    oidc = OidcAuthenticator(OidcTerms(issuer.url, AUDIENCE, algorithms, **terms), keys, clock)
    server = Server({"EnvironmentService": environments}, Bearers(TOKEN, clock, (oidc,)))
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Shown(issuer, channel, environments, clock)
    await server.stop(0)
    await documents.close()
