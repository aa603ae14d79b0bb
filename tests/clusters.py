"""A real Kubernetes API server on loopback, as tests have it; there is no kubelet, and RBAC is on.

etcd and kube-apiserver are those in the folder that KUBEBUILDER_ASSETS names; without one, those of `shared/kube/kube-assets.tar.xz`,
beside the project or beside what it was cloned from.
"""

import base64
import json
import os
import secrets
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pymigrate.engine.adapters.secrets.kubernetes import KubernetesKind
from pymigrate.engine.ports.secret_backend import BackendOptions, SecretBackend
from pymigrate.engine.ports.secrets import SecretRef
from pymigrate.engine.testing.secrets import MemorySecrets

ROOT = Path(__file__).resolve().parent.parent
ASSETS = Path("shared") / "kube" / "kube-assets.tar.xz"
PROGRAMS = ("etcd", "kube-apiserver")
START_SECONDS_MAX = 90.0
READER = "reader"
NOT_FOUND, CONFLICT = 404, 409


def programs(folder: Path) -> Path:
    """The folder with etcd and kube-apiserver."""
    if (named := os.environ.get("KUBEBUILDER_ASSETS")) and all((Path(named) / each).exists() for each in PROGRAMS):
        return Path(named)
    origin = subprocess.run(
        ["git", "-C", ROOT, "config", "remote.origin.url"], capture_output=True, text=True, check=False
    ).stdout.strip()
    places = [*ROOT.parents, *(Path(origin).parents if origin.startswith("/") else ())]
    found = next((place / ASSETS for place in places if (place / ASSETS).exists()), None)
    if found is None:
        # No package brings it, so that its lack is nobody's fault, where CI=true either.
        pytest.skip("kube-apiserver is missing: name the folder of its binaries as KUBEBUILDER_ASSETS")
    with tarfile.open(found) as archive:
        wanted = [member for member in archive.getmembers() if Path(member.name).name in PROGRAMS]
        archive.extractall(folder, wanted, filter="data")
    return next(folder.rglob("kube-apiserver")).parent


@dataclass(frozen=True, slots=True)
class Cluster:
    """One that runs. `admin` may do everything."""

    folder: Path
    address: str
    token: str

    def kubeconfig(self, name: str, token: str, *, address: str = "", is_verified: bool = True) -> Path:
        """A file by which somebody with a token reaches it."""
        path = self.folder / f"{name}.kubeconfig"
        trust = (
            {"certificate-authority": str(self.folder / "certs" / "apiserver.crt")}
            if is_verified
            else {"insecure-skip-tls-verify": True}
        )
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": address or self.address, **trust}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
        }
        path.write_text(json.dumps(document))
        return path

    @contextmanager
    def api(self) -> Iterator[Any]:
        """Its core API as the administrator."""
        from kubernetes import client, config

        found = client.Configuration()
        config.load_kube_config(str(self.kubeconfig("admin", self.token)), client_configuration=found)
        opened = client.ApiClient(found)
        try:
            yield client.CoreV1Api(opened)
        finally:
            opened.close()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """One of its own, until the end."""
    found, token = programs(folder), secrets.token_hex(16)
    client_port, peer_port, api_port = _ports(3)
    (folder / "tokens.csv").write_text(f'{token},admin,1,"system:masters"\n')
    key = folder / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    etcd_url, peer_url = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    etcd = [found / "etcd", "--data-dir", folder / "data", "--unsafe-no-fsync", "--log-level", "error"]
    etcd += ["--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url, "--listen-peer-urls", peer_url]
    etcd += ["--initial-advertise-peer-urls", peer_url, "--initial-cluster", f"default={peer_url}"]
    api = [
        found / "kube-apiserver",
        f"--etcd-servers={etcd_url}",
        "--bind-address=127.0.0.1",
        f"--secure-port={api_port}",
    ]
    api += [f"--cert-dir={folder / 'certs'}", "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC"]
    api += ["--service-account-issuer=https://kubernetes.default.svc", f"--service-account-signing-key-file={key}"]
    api += [f"--service-account-key-file={key}", "--api-audiences=api", f"--token-auth-file={folder / 'tokens.csv'}"]
    api += ["--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none"]
    with ExitStack() as running:
        store = running.enter_context(_running(etcd, folder / "etcd.log"))
        server = running.enter_context(_running(api, folder / "api.log"))
        made = Cluster(folder, f"https://127.0.0.1:{api_port}", token)
        _wait(made, {store: "etcd.log", server: "api.log"})
        yield made


@contextmanager
def _running(arguments: list[Any], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as file:
        process = subprocess.Popen(arguments, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait(made: Cluster, processes: Mapping["subprocess.Popen[bytes]", str]) -> None:
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    for _ in range(int(START_SECONDS_MAX * 4)):
        for process, log in processes.items():
            assert process.poll() is None, (made.folder / log).read_text()[-2_000:]
        if (made.folder / "certs" / "apiserver.crt").exists():
            try:
                with made.api() as api:
                    api.read_namespace("default")
            except (ApiException, HTTPError, OSError):
                pass  # not yet
            else:
                return
        threading.Event().wait(0.25)
    raise AssertionError("the API server does not answer")


class ClusterPlace:
    """Secrets of a namespace as the contract suite sees them, read by a service account that may get Secrets in it."""

    def __init__(self, made: Cluster, namespace: str) -> None:
        self._cluster = made
        self._namespace = namespace
        self._kubeconfig = made.kubeconfig(f"reader-of-{namespace}", reader_token(made, namespace))
        self.opened: list[SecretBackend] = []

    def open(self) -> SecretBackend:
        options = {"kubeconfig_file": str(self._kubeconfig)}
        backend = KubernetesKind().open(BackendOptions("k8s", options, {}, MemorySecrets(), timeout_seconds=10.0))
        self.opened.append(backend)
        return backend

    def ref(self, name: str, key: str = "") -> SecretRef:
        return SecretRef("k8s", f"{self._namespace}/{name}", key)

    def put(self, name: str, values: Mapping[str, str]) -> str:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        put_secret(self._cluster, self._namespace, name, data)
        return ""

    def happen(self, what: str, name: str) -> None:
        if what == "away":
            token = reader_token(self._cluster, self._namespace)
            self._kubeconfig = self._cluster.kubeconfig("away", token, address="https://127.0.0.1:9")
        else:
            with self._cluster.api() as api:
                rules(api).delete_namespaced_role_binding(READER, self._namespace)


def put_secret(made: Cluster, namespace: str, name: str, data: Mapping[str, str]) -> str:
    """Makes or replaces a Secret; its resourceVersion."""
    from kubernetes.client.exceptions import ApiException

    body = {"metadata": {"name": name}, "data": dict(data)}
    with made.api() as api:
        try:
            found = api.replace_namespaced_secret(name, namespace, body)
        except ApiException as error:
            if error.status != NOT_FOUND:
                raise
            found = api.create_namespaced_secret(namespace, body)
    return str(found.metadata.resource_version)


def rules(api: Any) -> Any:
    """RBAC, as the same client."""
    from kubernetes import client

    return client.RbacAuthorizationV1Api(api.api_client)


def reader_token(made: Cluster, namespace: str) -> str:
    """A token of a service account that may get Secrets of a namespace, which is made where it is not there."""
    from kubernetes.client.exceptions import ApiException

    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    subject = {"kind": "ServiceAccount", "name": READER, "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": READER}
    with made.api() as api:
        named, roles = {"metadata": {"name": READER}}, rules(api)
        makers: list[Callable[[], object]] = [
            lambda: api.create_namespace({"metadata": {"name": namespace}}),
            lambda: api.create_namespaced_service_account(namespace, named),
            lambda: roles.create_namespaced_role(namespace, {**named, "rules": [rule]}),
            lambda: roles.create_namespaced_role_binding(
                namespace, {**named, "subjects": [subject], "roleRef": reference}
            ),
        ]
        for make in makers:
            try:
                make()
            except ApiException as error:
                if error.status != CONFLICT:  # it is there
                    raise
        found = api.create_namespaced_service_account_token(READER, namespace, {"spec": {"audiences": ["api"]}})
    return str(found.status.token)
