"""What a kubeconfig means, and what is refused rather than left out."""

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pymigrate.engine.adapters.kubernetes.access import Access
from pymigrate.engine.adapters.kubernetes.kubeconfig import kubeconfig_access
from pymigrate.engine.ports.cluster import ClusterMisconfigured
from pymigrate.engine.testing.clock import ManualClock
from tests.certificates import CertificateAuthority, CertificateFiles

SERVER = "https://10.0.0.1:6443"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return CertificateAuthority().issue(tmp_path_factory.mktemp("certificates"))


def document(cluster: dict[str, Any], user: dict[str, Any], context: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "other", "cluster": {"server": "https://other"}}, {"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **(context or {})}}],
    }


def access(folder: Path, written: object) -> Access:
    path = folder / "config"
    path.write_text(written if isinstance(written, str) else json.dumps(written))
    return kubeconfig_access(path, ManualClock())


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_the_current_context_says_server_namespace_and_token(tmp_path: Path) -> None:
    found = access(tmp_path, document({"server": f"{SERVER}/"}, {"token": "secret"}, {"namespace": "prod"}))
    assert (found.server, found.namespace, found.token.current(), found.is_verified) == (SERVER, "prod", "secret", True)


def test_without_a_namespace_it_is_the_one_that_is_always_there(tmp_path: Path) -> None:
    assert access(tmp_path, document({"server": SERVER}, {})).namespace == "default"


def test_a_server_may_have_a_path(tmp_path: Path) -> None:
    assert (
        access(tmp_path, document({"server": f"{SERVER}/k8s/clusters/c-1/"}, {})).server == f"{SERVER}/k8s/clusters/c-1"
    )


def test_a_file_with_a_token_goes_before_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from the file\n".replace(" ", "-"))
    found = access(tmp_path, document({"server": SERVER}, {"token": "inline", "tokenFile": "token"}))
    assert found.token.current() == "from-the-file"


def test_an_authority_is_the_only_one_that_is_trusted(tmp_path: Path, files: CertificateFiles) -> None:
    for cluster in (
        {"server": SERVER, "certificate-authority-data": encoded(files.authorities)},
        {"server": SERVER, "certificate-authority": str(files.authorities)},
    ):
        tls = access(tmp_path, document(cluster, {})).tls
        assert tls is not None
        assert [each["subject"] for each in tls.get_ca_certs()] == [((("commonName", "Authority of tests"),),)]
        assert tls.check_hostname


def test_files_are_looked_for_beside_the_kubeconfig(tmp_path: Path, files: CertificateFiles) -> None:
    (tmp_path / "ca.crt").write_bytes(files.authorities.read_bytes())
    tls = access(tmp_path, document({"server": SERVER, "certificate-authority": "ca.crt"}, {})).tls
    assert tls is not None
    assert len(tls.get_ca_certs()) == 1


def test_a_name_other_than_the_server_s_may_be_asked_for(tmp_path: Path) -> None:
    found = access(tmp_path, document({"server": SERVER, "tls-server-name": "kubernetes"}, {}))
    assert found.server_name == "kubernetes"


def test_whoever_asks_for_it_is_not_told_who_answers(tmp_path: Path) -> None:
    found = access(tmp_path, document({"server": SERVER, "insecure-skip-tls-verify": True}, {}))
    assert found.tls is not None
    assert not found.is_verified
    assert not found.tls.check_hostname


def test_a_client_s_key_is_left_in_no_file(
    tmp_path: Path, files: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    passing = tmp_path / "passing"
    passing.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(passing))
    user = {"client-certificate-data": encoded(files.certificate), "client-key-data": encoded(files.key)}
    access(tmp_path, document({"server": SERVER}, user))
    with pytest.raises(ClusterMisconfigured):
        access(tmp_path, document({"server": SERVER}, user | {"client-key-data": "aGlkZGVu"}))
    assert list(passing.iterdir()) == []


def test_a_client_s_certificate_is_taken_from_data_or_files(tmp_path: Path, files: CertificateFiles) -> None:
    for user in (
        {"client-certificate-data": encoded(files.certificate), "client-key-data": encoded(files.key)},
        {"client-certificate": str(files.certificate), "client-key": str(files.key)},
    ):
        assert access(tmp_path, document({"server": SERVER}, user)).tls is not None


def test_loopback_is_spoken_to_in_the_clear(tmp_path: Path) -> None:
    assert access(tmp_path, document({"server": "http://127.0.0.1:8001"}, {})).tls is None


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ({"exec": {"command": "aws"}}, "`exec` of the user starts a program"),
        ({"auth-provider": {"name": "gcp"}}, "`auth-provider` of the user"),
        ({"username": "me", "password": "hidden"}, "`username` of the user"),
        ({"token": "hidden", "as": "root"}, "`as` of the user acts as somebody else"),
        ({"token": "hidden", "as-groups": ["system:masters"]}, "`as-groups` of the user"),
        ({"token": "hidden\nX: y"}, "other characters than a token has"),
        ({"tokenFile": "hidden"}, "holds no token"),
        ({"client-certificate-data": "hidden!"}, "`client-certificate-data` is not base64"),
        ({"client-certificate-data": "aGlkZGVu"}, "together or not at all"),
        ({"client-certificate-data": "aGlkZGVu", "client-key-data": "aGlkZGVu"}, "are no pair"),
        ({"client-certificate": "hidden", "client-key": "hidden"}, "`client-certificate` can't be read"),
    ],
)
def test_a_user_that_is_not_understood_is_refused_without_its_secrets(
    tmp_path: Path, user: dict[str, Any], why: str
) -> None:
    with pytest.raises(ClusterMisconfigured, match=why) as caught:
        access(tmp_path, document({"server": SERVER}, user))
    assert str(tmp_path) in caught.value.message
    assert "hidden" not in caught.value.message.replace(f"{tmp_path}/hidden", "")


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
        ({"server": SERVER, "proxy-url": "http://proxy"}, "`proxy-url` of the cluster is not supported"),
        ({"server": "http://10.0.0.1"}, "spoken to in the clear"),
        ({"server": "10.0.0.1:6443"}, "no address"),
        ({"server": "https://user:hidden@10.0.0.1"}, "no address"),
        ({}, "no address"),
        ({"server": SERVER, "certificate-authority-data": "aGlkZGVu"}, "holds no certificate"),
        ({"server": SERVER, "certificate-authority": "nowhere.crt"}, "nowhere.crt holds no certificate"),
    ],
)
def test_a_cluster_that_is_not_understood_is_refused(tmp_path: Path, cluster: dict[str, Any], why: str) -> None:
    with pytest.raises(ClusterMisconfigured, match=why) as caught:
        access(tmp_path, document(cluster, {}))
    assert "hidden" not in caught.value.message


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("token: [hidden", "no kubeconfig"),
        ("- hidden", "no kubeconfig"),
        ({"current-context": "gone"}, "no context called `gone`"),
        (document({"server": SERVER}, {}, {"cluster": "gone"}), "no cluster called `gone`"),
        (document({"server": SERVER}, {}, {"user": "gone"}), "no user called `gone`"),
    ],
)
def test_what_is_no_kubeconfig_is_refused(tmp_path: Path, written: object, why: str) -> None:
    with pytest.raises(ClusterMisconfigured, match=why) as caught:
        access(tmp_path, written)
    assert "hidden" not in caught.value.message


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterMisconfigured, match="gone can't be read"):
        kubeconfig_access(tmp_path / "gone", ManualClock())


def test_no_secret_is_shown(tmp_path: Path) -> None:
    assert "hidden" not in repr(access(tmp_path, document({"server": SERVER}, {"token": "hidden"})))
