"""Attack: a certificate that is not a client's of ours, or not any more; and a connection where one is required and none is shown."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.errors import Unauthenticated
from pymigrate.engine.entrypoints.client_certificates import ClientCertificates, certificate_identity
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.grpc.channel import EngineChannel
from pymigrate.engine.entrypoints.grpc.server import Server
from pymigrate.engine.entrypoints.identity import Bearers, caller
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.v1 import environment_pb2, environment_pb2_grpc
from tests.certificates import VALID_UNTIL, CertificateAuthority, CertificateFiles, replace

TOKEN = "a-token-of-the-test"
SECONDS_MAX = 30.0
URI = x509.UniformResourceIdentifier("spiffe://example.com/ci")
DNS = x509.DNSName("ci.example.com")
NOBODY = Caller("nobody")


class Environments(environment_pb2_grpc.EnvironmentServiceServicer):
    """Keeps who called."""

    who = NOBODY

    async def ListEnvironments(self, request: Any, context: Any) -> environment_pb2.ListEnvironmentsResponse:
        self.who = caller()
        return environment_pb2.ListEnvironmentsResponse()


class Scene:
    """An engine over TLS that takes certificates of `clients`; `is_required`: it insists on them."""

    def __init__(self, folder: Path, *, is_required: bool) -> None:
        self.folder = folder
        self.authority, self.clients = CertificateAuthority(), CertificateAuthority("Authority of clients")
        self.files = self.authority.issue(folder / "tls")
        (folder / "clients.crt").write_bytes(self.clients.certificate)
        self.clock = ManualClock()
        self.environments = Environments()  # type: ignore[abstract]  # the one call that is made
        clients = ClientCertificates(folder / "clients.crt", is_required)
        certificate = ServerCertificate(self.files.certificate, self.files.key, self.files.authorities, clients=clients)
        servicers, bearers = {"EnvironmentService": self.environments}, Bearers(TOKEN, self.clock)
        self.server = Server(servicers, bearers, certificate=certificate)
        self.rest = RestServer(servicers, bearers, certificate=certificate)

    async def start(self) -> None:
        self.port = await self.server.start("127.0.0.1:0", "127.0.0.1:0")
        self.rest_port = await self.rest.start("127.0.0.1:0")

    async def stop(self) -> None:
        await self.server.stop(0)
        await self.rest.stop()

    def issued(self, name: str = "client", **said: Any) -> CertificateFiles:
        """A client's certificate, of the authority that is asked for."""
        return self.clients.issue_client(self.folder / name, **{"names": [URI], "units": ["data"], **said})

    async def over_grpc(self, shown: CertificateFiles | None, token: str = "", port: int = 0) -> Caller:
        """Who calls that shows this. Raises AioRpcError."""
        self.environments.who = NOBODY
        key, certificate = (shown.key.read_bytes(), shown.certificate.read_bytes()) if shown else (None, None)
        credentials = grpc.ssl_channel_credentials(self.authority.certificate, key, certificate)
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        target = f"localhost:{port or self.server.client_port}"
        async with grpc.aio.secure_channel(target, credentials) as channel:
            stub = environment_pb2_grpc.EnvironmentServiceStub(channel)
            request = environment_pb2.ListEnvironmentsRequest()
            await stub.ListEnvironments(request, metadata=metadata, timeout=SECONDS_MAX)
        return self.environments.who

    async def over_rest(self, shown: CertificateFiles | None, token: str = "") -> tuple[int, Caller]:
        """Status, and who calls that shows this. Raises httpx's errors."""
        self.environments.who = NOBODY
        context = ssl.create_default_context(cafile=str(self.files.authorities))
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(verify=context, trust_env=False, timeout=SECONDS_MAX) as client:
            answer = await client.get(f"https://localhost:{self.rest_port}/v1/environments", headers=headers)
        return answer.status_code, self.environments.who

    async def lets_in(self, shown: CertificateFiles | None) -> bool:
        """Whether anybody is let in over gRPC or REST who shows this and no token."""
        try:
            await self.over_grpc(shown)
        except grpc.aio.AioRpcError:
            pass
        else:
            return True
        try:
            status, who = await self.over_rest(shown)
        except (httpx.HTTPError, ssl.SSLError):
            return False
        assert (status == 200) == (who is not NOBODY)
        return status == 200


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path, is_required=False)
    await scene.start()
    yield scene
    await scene.stop()


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path, is_required=True)
    await scene.start()
    yield scene
    await scene.stop()


async def test_a_certificate_alone_says_who_calls(scene: Scene) -> None:
    shown = scene.issued()
    expected = ("certificate/spiffe://example.com/ci", frozenset({"data"}))
    who = await scene.over_grpc(shown)
    assert (who.principal, who.groups) == expected
    status, who = await scene.over_rest(shown)
    assert (status, who.principal, who.groups) == (200, *expected)


async def test_with_a_token_beside_it_the_token_says_who_calls(scene: Scene) -> None:
    shown = scene.issued()
    assert (await scene.over_grpc(shown, TOKEN)).principal == "local"
    assert (await scene.over_rest(shown, TOKEN))[1].principal == "local"
    with pytest.raises(grpc.aio.AioRpcError):
        await scene.over_grpc(shown, "wrong")
    assert await scene.over_rest(shown, "wrong") == (401, NOBODY)


async def test_a_certificate_of_another_authority_lets_nobody_in(scene: Scene, tmp_path: Path) -> None:
    stranger = CertificateAuthority("Authority of clients")  # of the same name, with another key
    assert not await scene.lets_in(stranger.issue_client(tmp_path / "stranger", names=[URI]))
    assert not await scene.lets_in(scene.authority.issue_client(tmp_path / "server", names=[URI]))


async def test_a_certificate_that_signs_itself_lets_nobody_in(scene: Scene, tmp_path: Path) -> None:
    own = CertificateAuthority("ci").issue_client(tmp_path / "own", names=[URI])
    assert not await scene.lets_in(own)


async def test_a_certificate_that_is_for_servers_lets_nobody_in(scene: Scene) -> None:
    assert not await scene.lets_in(scene.issued(usages=(ExtendedKeyUsageOID.SERVER_AUTH,)))
    assert not await scene.lets_in(scene.issued(usages=(ExtendedKeyUsageOID.CODE_SIGNING,)))


async def test_a_certificate_that_has_ended_lets_nobody_in(scene: Scene) -> None:
    assert not await scene.lets_in(scene.issued(valid_until=dt.datetime(2021, 1, 1, tzinfo=dt.UTC)))


async def test_a_connection_does_not_outlive_its_certificate(scene: Scene) -> None:
    shown = scene.issued()
    assert await scene.lets_in(shown)
    scene.clock.jump((VALID_UNTIL - scene.clock.now()).total_seconds())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await scene.over_grpc(shown)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert await scene.over_rest(shown) == (401, NOBODY)


async def test_a_certificate_that_names_nobody_lets_nobody_in(scene: Scene) -> None:
    assert not await scene.lets_in(scene.issued(names=[]))
    assert not await scene.lets_in(scene.issued(names=[x509.RFC822Name("ann@example.com")]))


async def test_where_certificates_are_not_required_whoever_shows_none_needs_a_token(scene: Scene) -> None:
    assert await scene.over_rest(None) == (401, NOBODY)
    assert (await scene.over_rest(None, TOKEN))[1].principal == "local"
    assert (await scene.over_grpc(None, TOKEN, scene.port)).principal == "local"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await scene.over_grpc(None, "", scene.port)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_where_one_is_required_nobody_connects_without_whatever_the_token(strict: Scene) -> None:
    for port in (strict.port, strict.server.client_port):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await strict.over_grpc(None, TOKEN, port)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        await strict.over_rest(None, TOKEN)
    shown = strict.issued()
    assert (await strict.over_grpc(shown, TOKEN, strict.port)).principal == "local"
    assert (await strict.over_rest(shown, TOKEN))[1].principal == "local"


async def test_authorities_of_clients_are_taken_up_and_given_up_without_a_restart(scene: Scene, tmp_path: Path) -> None:
    former, another = scene.issued(), CertificateAuthority("Another")
    fresh = another.issue_client(tmp_path / "fresh", names=[DNS])
    assert await scene.lets_in(former)
    assert not await scene.lets_in(fresh)
    replace(tmp_path / "clients.crt", another.certificate)
    assert not await scene.lets_in(former)
    assert (await scene.over_grpc(fresh)).principal == "certificate/ci.example.com"
    assert (await scene.over_rest(fresh))[1].principal == "certificate/ci.example.com"


async def test_where_certificates_are_asked_for_no_older_tls_is_spoken(scene: Scene) -> None:
    context = ssl.create_default_context(cafile=str(scene.files.authorities))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with httpx.AsyncClient(verify=context, trust_env=False, timeout=SECONDS_MAX) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"https://localhost:{scene.rest_port}/livez")


async def test_a_session_is_never_taken_up_again(scene: Scene) -> None:
    context = ssl.create_default_context(cafile=str(scene.files.authorities))
    shown = scene.issued()
    context.load_cert_chain(shown.certificate, shown.key)

    def connect(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None, str | None]:
        import socket

        with (
            socket.create_connection(("localhost", scene.rest_port), timeout=SECONDS_MAX) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as connection,
        ):
            connection.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            while connection.recv(4_096):
                pass
            return connection.session, connection.session_reused, connection.version()

    session, _, version = await asyncio.to_thread(connect, None)
    assert version == "TLSv1.3"
    assert session is None or not session.has_ticket


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"names": [DNS, URI], "common_name": "ci"}, "spiffe://example.com/ci"),
        ({"names": [DNS], "common_name": "ci"}, "ci.example.com"),
        ({"names": [], "common_name": "ci"}, "ci"),
        ({"names": [x509.RFC822Name("a@example.com")], "common_name": "ci"}, "ci"),
    ],
)
def test_the_first_uri_names_a_client_else_a_dns_name_else_the_common_name(
    tmp_path: Path, said: dict[str, Any], name: str
) -> None:
    files = CertificateAuthority().issue_client(tmp_path, **said)
    identity = certificate_identity(ssl.PEM_cert_to_DER_cert(files.certificate.read_text()), ManualClock().now())
    assert identity.principal == f"certificate/{name}"


@pytest.mark.parametrize("usages", [[ExtendedKeyUsageOID.SERVER_AUTH], [ExtendedKeyUsageOID.CODE_SIGNING]])
def test_a_certificate_for_another_use_names_nobody_whatever_the_handshake_took_it_for(
    tmp_path: Path, usages: list[x509.ObjectIdentifier]
) -> None:
    files = CertificateAuthority().issue_client(tmp_path, names=[URI], usages=usages)
    with pytest.raises(Unauthenticated, match="not for clients"):
        certificate_identity(ssl.PEM_cert_to_DER_cert(files.certificate.read_text()), ManualClock().now())


def test_a_certificate_without_usages_is_for_clients_too(tmp_path: Path) -> None:
    files = CertificateAuthority().issue_client(tmp_path, names=[URI], usages=())
    shown = ssl.PEM_cert_to_DER_cert(files.certificate.read_text())
    assert certificate_identity(shown, ManualClock().now()).principal == "certificate/spiffe://example.com/ci"


def test_what_is_no_certificate_names_nobody() -> None:
    with pytest.raises(Unauthenticated):
        certificate_identity(b"nothing", ManualClock().now())


async def test_clients_of_the_engine_show_what_their_home_or_variables_have(strict: Scene, tmp_path: Path) -> None:
    shown, home = strict.issued(), tmp_path / "home"
    home.mkdir()
    (home / "endpoint").write_text(f"localhost:{strict.port}\n")
    (home / "ca.crt").write_bytes(strict.authority.certificate)
    variables = {"PYMIGRATE_CLIENT_CERTIFICATE": str(shown.certificate), "PYMIGRATE_CLIENT_KEY": str(shown.key)}
    for told in (variables, {}):
        channel = EngineChannel(EngineAccess.of(home, told))
        stub = environment_pb2_grpc.EnvironmentServiceStub(channel.get())
        await stub.ListEnvironments(environment_pb2.ListEnvironmentsRequest(), timeout=SECONDS_MAX)
        assert strict.environments.who.principal == "certificate/spiffe://example.com/ci"
        await channel.close()
        replace(home / "client.crt", shown.certificate.read_bytes())
        replace(home / "client.key", shown.key.read_bytes())
