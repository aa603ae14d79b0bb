"""What holds for every call: who makes it, and how it fails. Default-deny: a method without a valid credential is never entered, but for
the one that a signed link stands in for."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc
import structlog

from pymigrate.engine.application.caller import MANAGED_BY_DEFAULT
from pymigrate.engine.application.watching import Told
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.entrypoints.grpc.errors import status_of
from pymigrate.engine.entrypoints.grpc.wrapping import Serve, WrappingInterceptor
from pymigrate.engine.entrypoints.identity import AUTHORIZATION, MANAGED_BY, Identifies, note_caller
from pymigrate.engine.entrypoints.origins import FORWARDED_FOR, Peer, peer_address
from pymigrate.engine.entrypoints.redacted import Clean, redacted

log = structlog.get_logger(__name__)
# Its use case lets nobody in whose signature is not right, and a signature is right for one delivery alone.
SIGNED_METHOD = "/pymigrate.v1.NotificationService/AcknowledgeDelivery"


class CallInterceptor(WrappingInterceptor):
    """Checks the credential, notes the caller, and tells every error with its details; what is not expected is logged whole
    and told without any of it."""

    def __init__(self, bearers: Identifies, clean: Clean = str) -> None:
        self._bearers = bearers
        self._clean = clean

    def unary(self, details: grpc.HandlerCallDetails, serve: Serve) -> Serve:
        """Serves one call with one answer."""
        method, shown = details.method, _Shown(details)

        async def served(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                if method == SIGNED_METHOD and request.signature and not shown.authorizations:
                    note_caller(self._bearers.from_link(shown.peer(context)))
                else:
                    await self._enter(shown, context)
                return await serve(request, context)
            except PyMigrateError as error:
                await self._abort(context, error)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 (the edge: whatever it is, the caller gets a status)
                await self._abort_unexpected(context, method, error)

        return served

    def stream(self, details: grpc.HandlerCallDetails, serve: Serve) -> Serve:
        """Serves one call that answers again and again."""
        method, shown = details.method, _Shown(details)

        async def served(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            try:
                await self._enter(shown, context)
                async with aclosing(serve(request, context)) as answers:
                    async for answer in answers:
                        yield answer
            except PyMigrateError as error:
                await self._abort(context, error)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 (the edge: whatever it is, the caller gets a status)
                await self._abort_unexpected(context, method, error)

        return served

    def both(self, details: grpc.HandlerCallDetails, serve: Serve) -> Serve:
        """Serves reflection, to whoever has the token too."""
        return self.stream(details, serve)

    def encoder(self, serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        """Serializes what goes to several callers once for all of them."""
        return lambda answer: answer.encoded(serialize) if isinstance(answer, Told) else serialize(answer)

    async def _enter(self, shown: "_Shown", context: grpc.aio.ServicerContext[Any, Any]) -> None:
        note_caller(await self._bearers.identify(shown.authorizations, shown.side, shown.peer(context)))

    async def _abort(self, context: grpc.aio.ServicerContext[Any, Any], error: PyMigrateError) -> None:
        status = status_of(redacted(error, self._clean))
        code = next(known for known in grpc.StatusCode if known.value[0] == status.code)
        await context.abort(code, status.message, (("grpc-status-details-bin", status.SerializeToString()),))

    async def _abort_unexpected(
        self, context: grpc.aio.ServicerContext[Any, Any], method: str, error: Exception
    ) -> None:
        log.error("call.failed", method=method, error=type(error).__name__, exc_info=error)
        await self._abort(context, PyMigrateError(f"the engine failed in {method}: its log tells more"))


class _Shown:
    """What a call says of who makes it."""

    def __init__(self, details: grpc.HandlerCallDetails) -> None:
        self._metadata = [(name, str(value)) for name, value in details.invocation_metadata or ()]
        self.authorizations = self._all(AUTHORIZATION)
        self.side = next(iter(self._all(MANAGED_BY)), MANAGED_BY_DEFAULT)

    def peer(self, context: grpc.aio.ServicerContext[Any, Any]) -> Peer:
        """Who is at the other end."""
        certificate = b"" if self.authorizations else _certificate(context)
        return Peer(peer_address(context.peer()), self._all(FORWARDED_FOR), certificate)

    def _all(self, name: str) -> tuple[str, ...]:
        return tuple(value for known, value in self._metadata if known == name)


def _certificate(context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    """What the client has shown and the handshake has checked, DER; empty for nothing."""
    shown = next(iter(context.auth_context().get("x509_pem_cert", ())), b"")
    return ssl.PEM_cert_to_DER_cert(shown.decode("ascii")) if shown else b""
