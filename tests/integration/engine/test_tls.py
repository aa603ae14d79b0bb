"""Over TLS: who is trusted, what is shown, and what becomes of both when certificates are renewed."""

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.engine_access import EngineAccess, EngineAddress
from pymigrate.engine.entrypoints.grpc.channel import EngineChannel, opened
from pymigrate.engine.entrypoints.grpc.server import Server
from pymigrate.engine.entrypoints.identity import Bearers
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate
from tests.certificates import CertificateAuthority, CertificateFiles, replace

SECONDS_MAX = 30.0
BEARERS = Bearers("a-token-of-the-test", SystemClock())
FIRST, SECOND = "02", "03"  # serial numbers, as an authority counts them


class TlsEngine:
    """Health over gRPC and HTTP, with the certificate of `files`; `home` leads to it."""

    def __init__(self, home: Path, files: CertificateFiles) -> None:
        self.home = home
        home.mkdir()
        self.files = files
        self.certificate = ServerCertificate(files.certificate, files.key, files.authorities, self._tell)
        self.server = Server({}, BEARERS, certificate=self.certificate)
        self.rest = RestServer({}, BEARERS, certificate=self.certificate)

    async def start(self) -> None:
        self.port = await self.server.start("127.0.0.1:0")
        self.rest_port = await self.rest.start("127.0.0.1:0")
        await self.server.tell_ready()
        (self.home / "endpoint").write_text(f"127.0.0.1:{self.port}\n")

    async def stop(self) -> None:
        await self.server.stop(0)
        await self.rest.stop()

    def address(self, authorities: bytes, name: str = "") -> EngineAddress:
        return EngineAddress(f"127.0.0.1:{self.port}", authorities, name, self.files.authorities)

    def _tell(self, authorities: bytes) -> None:
        replace(self.home / "ca.crt", authorities)


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
async def engine(tmp_path: Path, authority: CertificateAuthority) -> AsyncIterator[TlsEngine]:
    engine = TlsEngine(tmp_path / "home", authority.issue(tmp_path / "tls"))
    await engine.start()
    yield engine
    await engine.stop()


async def asked(channel: grpc.aio.Channel) -> health_pb2.HealthCheckResponse:
    """One call. Raises AioRpcError."""
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest()
    answer: health_pb2.HealthCheckResponse = await stub.Check(request, timeout=SECONDS_MAX)  # type: ignore[attr-defined]
    return answer


async def problem(address: EngineAddress) -> str:
    """What a person is told of an address that is not answered."""
    channel = opened(address)
    try:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await asked(channel)
    finally:
        await channel.close()
    return address.handshake_problem(refused.value.details() or "")


async def shown(port: int, authorities: bytes, protocol: str = "http/1.1") -> str:
    """The serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cadata=authorities.decode())
    context.set_alpn_protocols([protocol])

    def connect() -> str:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            return str((connection.getpeercert() or {})["serialNumber"])

    return await asyncio.to_thread(connect)


async def test_whoever_has_the_authority_s_certificate_is_answered(engine: TlsEngine) -> None:
    channel = EngineChannel(EngineAccess(engine.home))
    answer = await asked(channel.get())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await channel.close()


async def test_a_certificate_of_another_authority_is_told_with_where_authorities_are_read(engine: TlsEngine) -> None:
    said = await problem(engine.address(CertificateAuthority("Another").certificate))
    assert said.endswith(f"its certificate is of no authority in {engine.files.authorities}")


async def test_a_certificate_for_another_name_is_told_with_what_to_set(
    engine: TlsEngine, authority: CertificateAuthority
) -> None:
    said = await problem(engine.address(authority.certificate, "engine.example.com"))
    assert "its certificate is not for engine.example.com: set PYMIGRATE_SERVER_NAME" in said


async def test_a_certificate_that_has_ended_is_told(tmp_path: Path, authority: CertificateAuthority) -> None:
    engine = TlsEngine(
        tmp_path / "home", authority.issue(tmp_path / "tls", valid_until=dt.datetime(2021, 1, 1, tzinfo=dt.UTC))
    )
    await engine.start()
    assert (await problem(engine.address(authority.certificate))).endswith("its certificate has ended")
    await engine.stop()


async def test_an_engine_without_tls_is_told_from_one_that_is_away(authority: CertificateAuthority) -> None:
    server = Server({}, BEARERS)
    port = await server.start("127.0.0.1:0")
    assert "it speaks without TLS" in await problem(EngineAddress(f"127.0.0.1:{port}", authority.certificate))
    await server.stop(0)
    assert await problem(EngineAddress(f"127.0.0.1:{port}", authority.certificate)) == ""


async def test_the_name_of_the_certificate_may_be_another_than_the_address_s(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    engine = TlsEngine(tmp_path / "home", authority.issue(tmp_path / "tls", ["engine.example.com"]))
    await engine.start()
    (engine.home / "server-name").write_text("engine.example.com\n")
    channel = EngineChannel(EngineAccess(engine.home))
    await asked(channel.get())
    await channel.close()
    assert "its certificate is not for 127.0.0.1" in await problem(engine.address(authority.certificate))
    await engine.stop()


async def test_a_renewed_certificate_is_shown_to_the_next_connection_while_a_call_goes_on(
    engine: TlsEngine, authority: CertificateAuthority
) -> None:
    channel = EngineChannel(EngineAccess(engine.home))
    watch = health_pb2_grpc.HealthStub(channel.get()).Watch(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    assert await shown(engine.port, authority.certificate, "h2") == FIRST
    assert await shown(engine.rest_port, authority.certificate) == FIRST
    authority.issue(engine.files.folder)
    assert await shown(engine.port, authority.certificate, "h2") == SECOND
    assert await shown(engine.rest_port, authority.certificate) == SECOND
    await engine.server.tell_draining()
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    await channel.close()


@pytest.mark.parametrize("broken", ["certificate", "key", "authorities"])
async def test_a_broken_pair_leaves_the_former_one_and_is_told_once(
    engine: TlsEngine, authority: CertificateAuthority, broken: str
) -> None:
    path: Path = getattr(engine.files, broken)
    replace(path, b"-----BEGIN NOTHING-----\n")
    with capture_logs() as logged:
        for _ in range(2):
            assert await shown(engine.rest_port, authority.certificate) == FIRST
            assert await shown(engine.port, authority.certificate, "h2") == FIRST
    assert [line["event"] for line in logged] == ["certificate.refused"]
    authority.issue(engine.files.folder)
    assert await shown(engine.rest_port, authority.certificate) == SECOND
    assert await shown(engine.port, authority.certificate, "h2") == SECOND


async def test_a_key_of_another_certificate_is_no_pair(tmp_path: Path, authority: CertificateAuthority) -> None:
    files, others = authority.issue(tmp_path / "one"), authority.issue(tmp_path / "other")
    with pytest.raises(PermanentError, match="PYMIGRATE_TLS_CERTIFICATE and PYMIGRATE_TLS_KEY name PEM files"):
        ServerCertificate(files.certificate, others.key)


async def test_a_client_takes_the_new_authority_and_lets_what_is_under_way_go_on(engine: TlsEngine) -> None:
    channel = EngineChannel(EngineAccess(engine.home))
    former = channel.get()
    watch = health_pb2_grpc.HealthStub(former).Watch(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
    await watch.read()
    another = CertificateAuthority("Another")
    another.issue(engine.files.folder)
    assert await shown(engine.rest_port, another.certificate) == FIRST  # and so the home is told
    await asked(channel.get())
    assert channel.get() is not former
    await engine.server.tell_draining()
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    await channel.close()
