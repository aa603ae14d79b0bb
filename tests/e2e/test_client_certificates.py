"""An engine that insists on its clients' certificates, from end to end: its own worker hosts, the command line, REST and the provider."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from pymigrate.provider.engine import Engine
from pymigrate.provider.reaching import place_of
from pymigrate.v1 import access_pb2, access_pb2_grpc, environment_pb2
from tests.certificates import CertificateAuthority, CertificateFiles
from tests.e2e.engines import EngineProcess, declare, running_engine

pytestmark = pytest.mark.measured

SECONDS_MAX = 60
NAME = "spiffe://example.com/ops"
SYSTEM = """
apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {{name: prod}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: legacy, environment: prod}}
spec: {{sqlite: {{path: {path}}}}}
"""


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def clients() -> CertificateAuthority:
    return CertificateAuthority("Authority of clients")


@pytest.fixture
def shown(tmp_path: Path, clients: CertificateAuthority) -> CertificateFiles:
    """What a person shows."""
    return clients.issue_client(tmp_path / "ops", names=[x509.UniformResourceIdentifier(NAME)])


@pytest.fixture
def environment(tmp_path: Path, authority: CertificateAuthority, clients: CertificateAuthority) -> dict[str, str]:
    """What the engine is told."""
    own = clients.issue_client(tmp_path / "own", common_name="engine")
    (tmp_path / "clients.crt").write_bytes(clients.certificate)
    return {
        **authority.issue(tmp_path / "tls").environment,
        "PYMIGRATE_REST_LISTEN": "127.0.0.1:0",
        "PYMIGRATE_TLS_CLIENT_CA": str(tmp_path / "clients.crt"),
        "PYMIGRATE_TLS_CLIENT_REQUIRED": "true",
        "PYMIGRATE_CLIENT_CERTIFICATE": str(own.certificate),
        "PYMIGRATE_CLIENT_KEY": str(own.key),
    }


@pytest.fixture
def engine(tmp_path: Path, environment: dict[str, str]) -> Iterator[EngineProcess]:
    with running_engine(tmp_path / "home", environment=environment) as process:
        yield process


def pymigrate(*arguments: str, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """One command, with these variables alone."""
    command = [sys.executable, "-m", "pymigrate.engine.main.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=dict(variables))


def test_all_of_its_clients_show_certificates_and_one_alone_is_a_way_in(
    engine: EngineProcess,
    tmp_path: Path,
    environment: dict[str, str],
    shown: CertificateFiles,
    authority: CertificateAuthority,
) -> None:
    (tmp_path / "legacy.db").touch()
    with engine.client() as client:
        declare(client, SYSTEM.format(path=tmp_path / "legacy.db"), tmp_path / "system.yaml")
        binding = access_pb2.RoleBinding(role=access_pb2.ROLE_ADMIN, members=[f"certificate/{NAME}"])
        stub = access_pb2_grpc.AccessServiceStub(client.channel)
        request = access_pb2.CreateRoleBindingRequest(role_binding_id="ops", role_binding=binding)
        stub.CreateRoleBinding(request, metadata=client.metadata, timeout=SECONDS_MAX)
    own = {name: environment[name] for name in ("PYMIGRATE_CLIENT_CERTIFICATE", "PYMIGRATE_CLIENT_KEY")}
    # Its worker host, which it starts itself, has connected with the engine's own.
    done = pymigrate("test", "environments/prod/connections/legacy", "--home", str(engine.home), variables=own)
    assert done.returncode == 0, done.stderr
    # Somebody elsewhere, with no token at all.
    outside = {
        "PYMIGRATE_HOME": str(tmp_path / "nothing"),
        "PYMIGRATE_ENDPOINT": (engine.home / "endpoint").read_text().strip(),
        "PYMIGRATE_CA_FILE": environment["PYMIGRATE_CA_FILE"],
    }
    certified = outside | {
        "PYMIGRATE_CLIENT_CERTIFICATE": str(shown.certificate),
        "PYMIGRATE_CLIENT_KEY": str(shown.key),
    }
    made = pymigrate("service-tokens", "create", "ci", variables=certified)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("pms_")
    listed = pymigrate("service-tokens", "list", "--json", variables=certified)
    assert json.loads(listed.stdout)["serviceTokens"][0]["creator"] == f"certificate/{NAME}"
    # A token does not make up for a certificate.
    token = made.stdout.strip()
    refused = pymigrate("service-tokens", "list", variables=outside | {"PYMIGRATE_TOKEN": token})
    assert refused.returncode == 1
    # Terraform.
    asked = ("EnvironmentService", "ListEnvironments", environment_pb2.ListEnvironmentsRequest())
    assert [each.name for each in Engine(place_of(certified)).call(*asked).environments] == ["environments/prod"]
    # REST.
    context = ssl.create_default_context(cafile=environment["PYMIGRATE_CA_FILE"])
    context.load_cert_chain(shown.certificate, shown.key)
    url = f"https://{(engine.home / 'rest-endpoint').read_text().strip()}/v1/caller"
    with httpx.Client(verify=context, trust_env=False, timeout=SECONDS_MAX) as rest:
        assert rest.get(url).json()["principal"] == f"certificate/{NAME}"


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("PYMIGRATE_TLS_CLIENT_CA", "set PYMIGRATE_TLS_CLIENT_CA"),
        ("PYMIGRATE_CLIENT_KEY", "PYMIGRATE_CLIENT_CERTIFICATE and PYMIGRATE_CLIENT_KEY"),
    ],
)
def test_settings_that_contradict_each_other_keep_the_engine_from_serving(
    tmp_path: Path, environment: dict[str, str], left_out: str, said: str
) -> None:
    variables = os.environ | {name: value for name, value in environment.items() if name != left_out}
    done = pymigrate("serve", "--home", str(tmp_path / "h"), "--listen", "127.0.0.1:0", variables=variables)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "h").exists()


def test_an_engine_whose_own_clients_would_not_be_let_in_does_not_serve(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    own = {"PYMIGRATE_CLIENT_CERTIFICATE", "PYMIGRATE_CLIENT_KEY"}
    variables = os.environ | {name: value for name, value in environment.items() if name not in own}
    done = pymigrate("serve", "--home", str(tmp_path / "h"), "--listen", "127.0.0.1:0", variables=variables)
    assert done.returncode == 1
    assert "worker hosts and dispatchers show a certificate too" in done.stderr
