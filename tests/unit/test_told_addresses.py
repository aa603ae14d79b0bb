"""What a server leaves in its home for its clients."""

from pathlib import Path

import pytest

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.main.told_addresses import build_certificate, reached_at, tell, tell_no_more, tell_server_name
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


def test_who_ends_takes_away_what_it_told_and_not_what_another_told_after_it(tmp_path: Path) -> None:
    path = tmp_path / "operator-endpoint"
    tell(path, "127.0.0.1:1")
    tell(path, "127.0.0.1:2")
    tell_no_more(path, "127.0.0.1:1")
    assert path.read_text() == "127.0.0.1:2\n"
    tell_no_more(path, "127.0.0.1:2")
    tell_no_more(path, "127.0.0.1:2")
    assert not path.exists()


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
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    files = authority.issue(tmp_path / "named", ["engine.prod.svc"])
    settings = settings_of(tmp_path, files, advertise="engine.prod.svc:7433")
    build_certificate(settings)
    tell_server_name(settings)
    assert (tmp_path / "server-name").read_text() == "engine.prod.svc\n"
    assert build_certificate(Settings(home=tmp_path)) is None
    tell_server_name(Settings(home=tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (["10.1.2.3"], {"listen": "10.1.2.3:0"}),
        (["fd00::7"], {"listen": "[FD00:0::7]:0"}),
        (["127.0.0.1"], {"listen": "0.0.0.0:0"}),
        (["Engine.prod.svc"], {"advertise": "engine.prod.SVC:7433"}),
        (["*.prod.svc"], {"advertise": "engine.prod.svc:7433"}),
    ],
)
def test_a_certificate_is_taken_that_has_the_name_by_which_the_engine_is_known(
    tmp_path: Path, authority: CertificateAuthority, names: list[str], settings: dict[str, str]
) -> None:
    files = authority.issue(tmp_path / "named", names)
    assert build_certificate(settings_of(tmp_path, files, **settings)) is not None


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (["engine.prod.svc"], {"listen": "0.0.0.0:0"}),
        (["*.prod.svc"], {"advertise": "a.engine.prod.svc:7433"}),
        (["*.prod.svc"], {"advertise": "prod.svc:7433"}),
        (["127.0.0.1", "localhost"], {"advertise": "engine.prod.svc:7433"}),
        ([], {"listen": "127.0.0.1:0"}),
    ],
)
def test_a_certificate_by_which_clients_would_not_know_the_engine_is_refused_with_what_to_set(
    tmp_path: Path, authority: CertificateAuthority, names: list[str], settings: dict[str, str]
) -> None:
    files = authority.issue(tmp_path / "named", names)
    with pytest.raises(PermanentError, match="by which clients know this engine: set PYMIGRATE_ADVERTISE"):
        build_certificate(settings_of(tmp_path, files, **settings))


def test_a_renewed_certificate_for_other_names_is_not_shown(
    tmp_path: Path, files: CertificateFiles, authority: CertificateAuthority
) -> None:
    certificate = build_certificate(settings_of(tmp_path, files))
    assert certificate is not None
    shown = certificate.look()
    authority.issue(files.folder, ["engine.example.com"])
    assert certificate.look() is shown
    authority.issue(files.folder)
    assert certificate.look() is not shown


def test_authorities_that_are_none_are_refused_at_the_start(tmp_path: Path, files: CertificateFiles) -> None:
    replace(files.authorities, b"nothing")
    with pytest.raises(PermanentError, match=f"known by {files.authorities}"):
        build_certificate(settings_of(tmp_path, files, ca_file=files.authorities))
