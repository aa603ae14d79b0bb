"""The one call that enters without a token: an acknowledgement by a signed link, over a real socket."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.grpc.channel import EngineChannel
from pymigrate.engine.entrypoints.grpc.interceptors import CallInterceptor
from pymigrate.engine.entrypoints.identity import Bearers, caller
from pymigrate.engine.entrypoints.rest.remote import remote_services
from pymigrate.engine.entrypoints.rest.remote_identity import RemoteBearers
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.v1 import notification_pb2, notification_pb2_grpc
from tests.unit.application.dispatched import Dispatch, dispatch_of
from tests.unit.application.engines import Engine
from tests.unit.domain.delivered import ENVIRONMENT, pending

TOKEN = "a-token-of-the-test"
NAME = f"{ENVIRONMENT}/deliveries/d1"


class Notifications(notification_pb2_grpc.NotificationServiceServicer):
    """AcknowledgeDelivery by its use case, and a call that has nothing to do with links."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def AcknowledgeDelivery(
        self, request: notification_pb2.AcknowledgeDeliveryRequest, context: Any
    ) -> notification_pb2.NotificationDelivery:
        return await self._dispatch.acknowledging.acknowledge(request.name, request.signature, caller())

    async def GetDelivery(
        self, request: notification_pb2.GetDeliveryRequest, context: Any
    ) -> notification_pb2.NotificationDelivery:
        return notification_pb2.NotificationDelivery(name=request.name)


@pytest.fixture
async def dispatch() -> Dispatch:
    """With a delivery that asks to be acknowledged."""
    found = await dispatch_of(Engine())
    await found.make(pending(needs_acknowledgement=True))
    return found


@pytest.fixture
async def port(dispatch: Dispatch) -> AsyncIterator[int]:
    """Where NotificationService is served on a real socket, behind the interceptor that every call passes."""
    server = grpc.aio.server(interceptors=[CallInterceptor(Bearers(TOKEN, SystemClock()))])
    servicer = Notifications(dispatch)  # type: ignore[abstract]  # the others are not implemented, as gRPC says then
    notification_pb2_grpc.add_NotificationServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


@pytest.fixture
async def stub(port: int) -> AsyncIterator[Any]:
    """A client without any token."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield notification_pb2_grpc.NotificationServiceStub(channel)


async def token_of(dispatch: Dispatch) -> str:
    return dispatch.links.path(await dispatch.get()).rpartition("/")[2]


async def refused(call: Any) -> grpc.StatusCode:
    """The code that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code()


async def test_a_signature_alone_acknowledges_its_delivery(dispatch: Dispatch, stub: Any) -> None:
    signed = notification_pb2.AcknowledgeDeliveryRequest(name=NAME, signature=await token_of(dispatch))
    told = await stub.AcknowledgeDelivery(signed)
    assert (told.state, told.acknowledger) == (notification_pb2.DELIVERY_STATE_ACKNOWLEDGED, "ann")


async def test_without_token_and_signature_nothing_is_acknowledged(stub: Any) -> None:
    unsigned = notification_pb2.AcknowledgeDeliveryRequest(name=NAME)
    assert await refused(stub.AcknowledgeDelivery(unsigned)) is grpc.StatusCode.UNAUTHENTICATED


async def test_a_signature_that_is_not_right_lets_nobody_in(dispatch: Dispatch, stub: Any) -> None:
    token = await token_of(dispatch)
    for signature in (f"{token[:-2]}xx", "nonsense", " "):
        forged = notification_pb2.AcknowledgeDeliveryRequest(name=NAME, signature=signature)
        assert await refused(stub.AcknowledgeDelivery(forged)) is grpc.StatusCode.UNAUTHENTICATED


async def test_a_wrong_token_is_not_mended_by_a_signature(dispatch: Dispatch, stub: Any) -> None:
    signed = notification_pb2.AcknowledgeDeliveryRequest(name=NAME, signature=await token_of(dispatch))
    wrong = (("authorization", "Bearer wrong"),)
    assert await refused(stub.AcknowledgeDelivery(signed, metadata=wrong)) is grpc.StatusCode.UNAUTHENTICATED


async def test_no_other_call_enters_without_a_token(stub: Any) -> None:
    asked = notification_pb2.GetDeliveryRequest(name=NAME)
    assert await refused(stub.GetDelivery(asked)) is grpc.StatusCode.UNAUTHENTICATED


async def test_with_a_token_the_caller_is_who_acknowledges(stub: Any) -> None:
    right = (("authorization", f"Bearer {TOKEN}"),)
    told = await stub.AcknowledgeDelivery(notification_pb2.AcknowledgeDeliveryRequest(name=NAME), metadata=right)
    assert told.acknowledger == "local"


async def test_rest_in_a_process_of_its_own_acknowledges_by_the_link_alone(
    dispatch: Dispatch, port: int, tmp_path: Path
) -> None:
    (tmp_path / "endpoint").write_text(f"127.0.0.1:{port}\n")
    channel = EngineChannel(EngineAccess(tmp_path))
    rest = RestServer(remote_services(channel, ["NotificationService"]), RemoteBearers(channel, SystemClock()))
    link = dispatch.links.path(await dispatch.get())
    forged = f"{link[:20]}{'A' if link[20] != 'A' else 'B'}{link[21:]}"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(rest.application), base_url="http://rest") as browser:
        assert (await browser.get(link)).status_code == 200
        assert (await dispatch.get()).state is DeliveryState.PENDING
        assert (await browser.post(forged)).status_code == 403
        assert (await browser.post(link)).status_code == 200
        assert (await browser.post(f"/v1/{NAME}:acknowledge", json={})).status_code == 401
    stored = await dispatch.get()
    assert (stored.state, stored.acknowledger) == (DeliveryState.ACKNOWLEDGED, "ann")
    await channel.close()
