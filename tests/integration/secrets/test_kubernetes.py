"""Secrets of a real API server: who may read which, versions, what is no text, and a token that is replaced."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymigrate.engine.adapters.secrets.kubernetes import KubernetesBackend, KubernetesKind
from pymigrate.engine.domain.errors import SecretMissing, SecretRefused, SecretsUnavailable
from pymigrate.engine.ports.secret_backend import BackendOptions, Lease
from pymigrate.engine.ports.secrets import SecretRef
from pymigrate.engine.testing.secrets import MemorySecrets
from tests.cluster_secrets import put_secret, reader_token
from tests.clusters import Cluster, cluster

NAMESPACE = "legacy"


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def opened(kubeconfig: Path | None, **options: str) -> KubernetesBackend:
    said = {"kubeconfig_file": str(kubeconfig), **options} if kubeconfig else options
    return KubernetesKind().open(BackendOptions("k8s", said, {}, MemorySecrets()))


def ref(location: str, key: str = "password") -> SecretRef:
    return SecretRef("k8s", location, key)


def encoded(**values: bytes) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in values.items()}


def test_keys_are_decoded_and_a_version_is_the_secret_s_own(api_server: Cluster) -> None:
    kubeconfig = api_server.kubeconfig("decoding", reader_token(api_server, NAMESPACE))
    first = put_secret(api_server, NAMESPACE, "db", encoded(username=b"reader", password=b"one\n", store=b"\xff\xfe"))
    backend = opened(kubeconfig, context="test")
    assert backend.login().startswith("Kubernetes v")
    document = backend.read(ref(f"{NAMESPACE}/db"))
    assert {key: each.reveal() for key, each in document.values.items()} == {"username": "reader", "password": "one"}
    assert document.version == first
    second = put_secret(api_server, NAMESPACE, "db", encoded(password=b"two"))
    assert backend.read(ref(f"{NAMESPACE}/db")).version == second != first
    with pytest.raises(SecretMissing, match="keeps no former versions"):
        backend.read(ref(f"{NAMESPACE}/db"), first)
    backend.close()


def test_a_key_that_is_no_text_is_missing_where_it_is_asked_for(api_server: Cluster) -> None:
    kubeconfig = api_server.kubeconfig("binary", reader_token(api_server, NAMESPACE))
    put_secret(api_server, NAMESPACE, "binary", encoded(store=b"\xff\xfe"))
    backend = opened(kubeconfig)
    with pytest.raises(SecretMissing, match="not text in UTF-8"):
        backend.read(ref(f"{NAMESPACE}/binary", "store"))
    backend.close()


def test_only_the_namespaces_that_it_names_are_read_whatever_the_cluster_allows(api_server: Cluster) -> None:
    put_secret(api_server, "default", "db", encoded(password=b"x"))
    backend = opened(api_server.kubeconfig("admin", api_server.token), namespaces='["default"]')
    assert backend.read(ref("default/db")).values["password"].reveal() == "x"
    with pytest.raises(SecretRefused, match="kube-system is none of them"):
        backend.read(ref("kube-system/db"))
    backend.close()


def test_what_rbac_forbids_is_refused_and_what_is_no_secret_s_name_is_missing(api_server: Cluster) -> None:
    backend = opened(api_server.kubeconfig("forbidden", reader_token(api_server, NAMESPACE)))
    with pytest.raises(SecretRefused, match=r"the cluster said 403.*by a Role"):
        backend.read(ref("default/db"))
    for location in ("db", f"{NAMESPACE}/", "/db", f"{NAMESPACE}/a/b"):
        with pytest.raises(SecretMissing):
            backend.read(ref(location))
    backend.close()


def test_a_token_that_was_replaced_is_read_once_more(api_server: Cluster) -> None:
    put_secret(api_server, "default", "kept", encoded(password=b"x"))
    kubeconfig = api_server.kubeconfig("replaced", "an-ended-token")
    backend = opened(kubeconfig)
    with pytest.raises(SecretRefused, match="the cluster said 401"):
        backend.read(ref("default/kept"))
    api_server.kubeconfig("replaced", api_server.token)
    assert backend.read(ref("default/kept")).values["password"].reveal() == "x"
    backend.close()


def test_a_cluster_that_is_not_verified_or_does_not_answer_is_not_read(api_server: Cluster, tmp_path: Path) -> None:
    unverified = api_server.kubeconfig("unverified", api_server.token, is_verified=False)
    with pytest.raises(SecretRefused, match="does not verify the cluster"):
        opened(unverified).read(ref("default/db"))
    away = opened(api_server.kubeconfig("away", api_server.token, address="https://127.0.0.1:9"))
    for ask in (away.login, lambda: away.read(ref("default/db"))):
        with pytest.raises(SecretsUnavailable, match="does not answer"):
            ask()
    away.close()
    with pytest.raises(SecretRefused, match="leads to no cluster"):
        opened(tmp_path / "nowhere").login()
    with pytest.raises(SecretRefused, match="the pod's service account leads to no cluster"):
        opened(None).login()


def test_nothing_is_leased() -> None:
    backend = opened(None)
    with pytest.raises(SecretMissing):
        backend.renew(Lease("x", 1.0))
    backend.revoke(Lease("x", 1.0))
    backend.close()
