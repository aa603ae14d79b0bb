"""How clients are told where the engine is: by the files of a home, or by variables in place of each of them."""

from pathlib import Path

import pytest

from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.engine_access import EngineAccess, EngineAddress
from tests.certificates import CertificateAuthority

PEM = CertificateAuthority().certificate


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """That of an engine which speaks TLS on this machine, with the certificate of a service."""
    home = tmp_path / "home"
    home.mkdir()
    for name, content in {
        "endpoint": b"127.0.0.1:7433\n",
        "token": b"of-the-home\n",
        "ca.crt": PEM,
        "server-name": b"engine.prod.svc\n",
    }.items():
        (home / name).write_bytes(content)
    return home


def test_a_home_says_everything(home: Path) -> None:
    access = EngineAccess.of(home, {})
    assert access.address() == EngineAddress("127.0.0.1:7433", PEM, "engine.prod.svc", home / "ca.crt")
    assert (access.token(), access.token_place) == ("of-the-home", home / "token")


def test_variables_stand_in_place_of_each_file(home: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("given\n")
    (tmp_path / "ca.pem").write_bytes(another := CertificateAuthority().certificate)
    variables = {
        "PYMIGRATE_ENDPOINT": "127.0.0.1:9999",
        "PYMIGRATE_TOKEN_FILE": str(tmp_path / "token"),
        "PYMIGRATE_CA_FILE": str(tmp_path / "ca.pem"),
        "PYMIGRATE_SERVER_NAME": "another.svc",
    }
    access = EngineAccess.of(home, variables)
    assert access.address() == EngineAddress("127.0.0.1:9999", another, "another.svc", tmp_path / "ca.pem")
    assert (access.token(), access.token_place) == ("given", tmp_path / "token")


def test_empty_variables_stand_in_place_of_nothing(home: Path) -> None:
    names = ("ENDPOINT", "TOKEN_FILE", "CA_FILE", "SERVER_NAME")
    assert EngineAccess.of(home, {f"PYMIGRATE_{name}": "" for name in names}) == EngineAccess.of(home, {})


def test_the_home_s_name_of_a_certificate_is_not_asked_of_an_engine_elsewhere(home: Path) -> None:
    found = EngineAccess.of(home, {"PYMIGRATE_ENDPOINT": "engine.test.svc:7433"}).address()
    assert found.server_name == ""
    assert found.authorities == PEM


@pytest.mark.parametrize("endpoint", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/engine.sock"])
def test_this_machine_is_spoken_to_without_tls_where_nothing_is_known_of_it(endpoint: str, tmp_path: Path) -> None:
    assert EngineAccess(tmp_path, endpoint).address().credentials is None


@pytest.mark.parametrize(
    "endpoint", ["10.0.0.7:1", "localhost.example.com:1", "[fd00::7]:1", "127.0.0.1.example.com:1"]
)
def test_another_machine_that_nothing_vouches_for_is_refused_with_what_to_set(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"is not on this machine.*PYMIGRATE_CA_FILE"):
        EngineAccess(tmp_path, endpoint).address()


@pytest.mark.parametrize("content", [b"", b"no certificate"])
@pytest.mark.parametrize("is_own", [True, False])
def test_authorities_that_are_none_are_refused_rather_than_done_without(
    home: Path, tmp_path: Path, content: bytes, is_own: bool
) -> None:
    path = tmp_path / "ca.pem" if is_own else home / "ca.crt"
    path.write_bytes(content)
    with pytest.raises(EngineUnavailable, match=f"{path} holds no certificate"):
        EngineAccess.of(home, {"PYMIGRATE_CA_FILE": str(path) if is_own else ""}).address()


def test_a_home_without_an_engine_says_how_to_start_one(tmp_path: Path) -> None:
    for ask in (EngineAccess(tmp_path).address, EngineAccess(tmp_path).token):
        with pytest.raises(EngineUnavailable, match=f"start one with `pymigrate serve --home {tmp_path}`"):
            ask()


def test_where_nothing_ever_led_to_an_engine_is_told_from_where_one_is_away(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="start one with"):
        EngineAccess(tmp_path).require_place()
    EngineAccess(tmp_path, "127.0.0.1:7433").require_place()
    (tmp_path / "token").write_text("left by one that is away\n")
    EngineAccess(tmp_path).require_place()


def test_a_client_shows_a_certificate_with_its_key_or_none(home: Path, tmp_path: Path) -> None:
    assert EngineAccess.of(home, {}).address().certificate == b""
    (home / "client.crt").write_bytes(b"certificate")
    assert EngineAccess.of(home, {}).address().certificate == b""
    (home / "client.key").write_bytes(b"the key")
    found = EngineAccess.of(home, {}).address()
    assert (found.certificate, found.key) == (b"certificate", b"the key")
    assert "the key" not in repr(found)
    with pytest.raises(EngineUnavailable, match="PYMIGRATE_CLIENT_KEY"):
        EngineAccess.of(home, {"PYMIGRATE_CLIENT_CERTIFICATE": str(home / "client.crt")}).address()


def test_without_a_token_a_certificate_is_shown_alone_and_without_either_nobody_calls(home: Path) -> None:
    (home / "token").unlink(missing_ok=True)
    access = EngineAccess.of(home, {})
    with pytest.raises(EngineUnavailable):
        access.token_beside(access.address())
    (home / "client.crt").write_bytes(b"certificate")
    (home / "client.key").write_bytes(b"key")
    assert access.token_beside(access.address()) == ""
    (home / "token").write_text("the token\n")
    assert access.token_beside(access.address()) == "the token"


@pytest.mark.parametrize(("content", "text"), [(b"", "is empty"), (b" \n", "is empty"), ("ä".encode(), "is not text")])
def test_a_token_that_is_none_is_refused_without_showing_it(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(EngineUnavailable, match=text):
        EngineAccess(tmp_path).token()


def test_a_file_that_is_named_and_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=f"{tmp_path}/gone: No such file"):
        EngineAccess(tmp_path / "home", token_path=tmp_path / "gone").token()


def test_only_connections_to_other_machines_are_kept_alive() -> None:
    names = [name for name, _ in EngineAddress("10.0.0.7:1", PEM).options]
    assert "grpc.keepalive_time_ms" in names
    assert EngineAddress("127.0.0.1:1", PEM).options == ()
