"""A real Kubernetes API server on loopback, as tests have it; there is no kubelet, and RBAC is on.

With its controllers, Jobs, the garbage collector and the namespaces' work too. A test that only talks to it takes the session's
`api_server`; one that stops, kills or restarts takes a `cluster` of its own.
"""

import json
import secrets
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.certificates import CertificateAuthority
from tests.kube_audit import KubeAudit
from tests.kube_processes import PROGRAMS, Program, free_ports, programs

if TYPE_CHECKING:
    from tests.kubectl import Kubectl

START_SECONDS_MAX = 90.0
CONTROLLERS = "job,garbagecollector,namespace,cronjob,ttl-after-finished"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One that runs. `admin` may do everything; whoever has a certificate of `client_authority` is known by its name."""

    folder: Path
    address: str
    token: str
    etcd: Program
    api_server: Program
    client_authority: CertificateAuthority
    controllers: Program | None = None

    @property
    def certificate_file(self) -> Path:
        """Of the API server, which has signed it itself."""
        return self.folder / "certs" / "apiserver.crt"

    @property
    def admin_kubeconfig(self) -> Path:
        """By which everything is done."""
        return self.kubeconfig("admin", self.token)

    def kubeconfig(
        self,
        name: str,
        token: str,
        *,
        address: str = "",
        is_verified: bool = True,
        authority: Path | None = None,
        namespace: str = "",
    ) -> Path:
        """A file by which somebody with a token reaches it, or a proxy before it, of which `authority` is the certificate."""
        path = self.folder / f"{name}.kubeconfig"
        trust = (
            {"certificate-authority": str(authority or self.certificate_file)}
            if is_verified
            else {"insecure-skip-tls-verify": True}
        )
        context = {"cluster": "test", "user": name} | ({"namespace": namespace} if namespace else {})
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": address or self.address, **trust}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": context}],
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

    @property
    def kubectl(self) -> "Kubectl":
        """kubectl as the administrator."""
        from tests.kubectl import Kubectl

        return Kubectl(self)

    def service_account(
        self, namespace: str, name: str, rules: Sequence[Mapping[str, Any]], *, is_cluster_wide: bool = False
    ) -> str:
        """A token of a service account that may do just this, in its namespace or everywhere. All are made where they are not there."""
        of = "ClusterRole" if is_cluster_wide else "Role"
        placed = {"name": name} if is_cluster_wide else {"name": name, "namespace": namespace}
        group = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        self.kubectl.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}},
            {"apiVersion": f"{group}/v1", "kind": of, "metadata": placed, "rules": list(rules)},
            {
                "apiVersion": f"{group}/v1",
                "kind": f"{of}Binding",
                "metadata": placed,
                "subjects": [subject],
                "roleRef": {"apiGroup": group, "kind": of, "name": name},
            },
        )
        return self.account_token(namespace, name)

    def account_token(self, namespace: str, name: str) -> str:
        """A new token of a service account."""
        with self.api() as api:
            found = api.create_namespaced_service_account_token(name, namespace, {"spec": {"audiences": ["api"]}})
        return str(found.status.token)

    def wait(self) -> None:
        """Until the API server answers, after it or etcd was started again."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        last: Exception | None = None
        for _ in range(int(START_SECONDS_MAX * 4)):
            for program in (self.etcd, self.api_server):
                program.check()
            if self.certificate_file.exists():
                try:
                    with self.api() as api:
                        api.read_namespace("default")
                except ApiException as error:
                    # Not yet: etcd is away, or the roles of whoever asks are not there so soon.
                    if error.status not in {401, 403, 404, 429} and error.status < 500:
                        raise
                    last = error
                except (HTTPError, OSError) as error:
                    last = error  # nobody listens yet, or with half a certificate
                else:
                    return
            threading.Event().wait(0.25)
        raise AssertionError(f"the API server does not answer: {last!r}")


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The one of a file of tests, with controllers. It costs a start for each file, and less than to stay idle beside all of them. Whoever
    uses it keeps to namespaces of its own, and leaves it running."""
    with cluster(tmp_path_factory.mktemp("api-server"), controllers=True) as made:
        yield made


@contextmanager
def cluster(folder: Path, *, controllers: bool = False, audit: KubeAudit | None = None) -> Iterator[Cluster]:
    """One of its own, until the end."""
    found, token = programs(folder, PROGRAMS if controllers else PROGRAMS[:2]), secrets.token_hex(16)
    client_port, peer_port, api_port = free_ports(3)
    authority = CertificateAuthority("Authority of clients")
    (folder / "clients.crt").write_bytes(authority.certificate)
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
    api += ["--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none", "--allow-privileged=true"]
    api += [f"--client-ca-file={folder / 'clients.crt'}"]
    api += audit.arguments() if audit else ()
    made = Cluster(
        folder,
        f"https://127.0.0.1:{api_port}",
        token,
        Program(etcd, folder / "etcd.log"),
        Program(api, folder / "api.log"),
        authority,
        _controllers(found, folder) if controllers else None,
    )
    with ExitStack() as running:
        for program in (made.etcd, made.api_server):
            running.callback(program.stop)
            program.start()
        made.wait()
        if made.controllers is not None:
            made.kubeconfig("controllers", token, is_verified=False)
            running.callback(made.controllers.stop)
            made.controllers.start()
        yield made


def _controllers(found: Path, folder: Path) -> Program:
    arguments = [found / "kube-controller-manager", f"--kubeconfig={folder / 'controllers.kubeconfig'}"]
    arguments += ["--bind-address=127.0.0.1", "--port=0", "--secure-port=0", "--leader-elect=false"]
    arguments += [f"--service-account-private-key-file={folder / 'sa.key'}", "--use-service-account-credentials=false"]
    arguments += [f"--controllers={CONTROLLERS}", "--feature-gates=TTLAfterFinished=true"]
    return Program(arguments, folder / "controllers.log")
