"""What a server leaves in its home for its clients."""

from pathlib import Path

import pytest

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.main.told_addresses import build_certificate, reached_at, tell_server_name
from pymigrate.engine.settings import Settings
from tests.certificates import CertificateAuthority, CertificateFiles, replace


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def files(tmp_path: Path, authority: CertificateAuthority) -> CertificateFiles:
    return authority.issue(tmp_path / "tls")


def settings_of(home: Path, files: CertificateFiles, **others: object) -> Settings:
    """Those of an engine that serves with these files."""
    given = {"home": home, "tls_certificate": files.certificate, "tls_key": files.key}
    return Settings.model_validate(given | others)


@pytest.mark.parametrize(
    ("listen", "endpoint"),
    [
        ("127.0.0.1:0", "127.0.0.1:7"),
        ("0.0.0.0:0", "127.0.0.1:7"),
        ("[::]:0", "[::1]:7"),
        ("10.1.2.3:0", "10.1.2.3:7"),
    ],
)
def test_whoever_listens_on_every_address_is_reached_on_this_machine_s_own(listen: str, endpoint: str) -> None:
    assert reached_at(listen, 7) == endpoint


def test_clients_know_the_engine_by_the_authorities_that_are_named(
    tmp_path: Path, files: CertificateFiles, authority: CertificateAuthority
) -> None:
    build_certificate(settings_of(tmp_path, files, ca_file=files.authorities))
    assert (tmp_path / "ca.crt").read_bytes() == authority.certificate


def test_a_certificate_without_an_authority_is_known_by_itself(tmp_path: Path, files: CertificateFiles) -> None:
    build_certificate(settings_of(tmp_path, files))
    assert (tmp_path / "ca.crt").read_bytes() == files.certificate.read_bytes()


def test_the_home_is_told_of_renewed_authorities(tmp_path: Path, files: CertificateFiles) -> None:
    certificate = build_certificate(settings_of(tmp_path, files, ca_file=files.authorities))
    assert certificate is not None
    another = CertificateAuthority("Another")
    another.issue(files.folder)
    certificate.look()
    assert (tmp_path / "ca.crt").read_bytes() == another.certificate


def test_a_process_beside_the_engine_leaves_the_home_s_authorities_alone(
    tmp_path: Path, files: CertificateFiles
) -> None:
    replace(tmp_path / "ca.crt", b"the engine's")
    build_certificate(settings_of(tmp_path, files), is_told=False)
    build_certificate(Settings(home=tmp_path), is_told=False)
    assert (tmp_path / "ca.crt").read_bytes() == b"the engine's"


def test_an_engine_without_tls_takes_away_what_an_earlier_one_was_known_by(
    tmp_path: Path, files: CertificateFiles
) -> None:
    settings = settings_of(tmp_path, files, advertise="engine.prod.svc:7433")
    build_certificate(settings)
    tell_server_name(settings)
    assert (tmp_path / "server-name").read_text() == "engine.prod.svc\n"
    assert build_certificate(Settings(home=tmp_path)) is None
    tell_server_name(Settings(home=tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_authorities_that_are_none_are_refused_at_the_start(tmp_path: Path, files: CertificateFiles) -> None:
    replace(files.authorities, b"nothing")
    with pytest.raises(PermanentError, match=f"known by {files.authorities}"):
        build_certificate(settings_of(tmp_path, files, ca_file=files.authorities))
