"""An engine that others than this machine reach: TLS from end to end, with its worker hosts, the command line, REST and the provider."""

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import httpx
import pytest

from pymigrate.provider.engine import Engine, refuse
from pymigrate.provider.reaching import place_of
from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.v1 import environment_pb2, worker_pb2
from tests.certificates import CertificateAuthority, CertificateFiles
from tests.e2e.engines import EngineProcess, declare, running_engine, wait_until
from tests.e2e.terraforms import Terraform

pytestmark = pytest.mark.measured

TOKEN = "0123456789abcdef0123456789abcdef"
NAME = "engine.prod.svc"
SECONDS_MAX = 60
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
def files(tmp_path: Path, authority: CertificateAuthority) -> CertificateFiles:
    return authority.issue(tmp_path / "tls", [NAME])


@pytest.fixture
def tls_engine(tmp_path: Path, files: CertificateFiles) -> Iterator[EngineProcess]:
    """An engine that is known as a service of a cluster is, with a token that it is given."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    environment = {
        **files.environment,
        "PYMIGRATE_REST_LISTEN": "127.0.0.1:0",
        "PYMIGRATE_METRICS_LISTEN": "127.0.0.1:0",
        "PYMIGRATE_ADVERTISE": f"{NAME}:7433",
        "PYMIGRATE_TOKEN_FILE": str(tmp_path / "token"),
        "PYMIGRATE_ENDPOINT": "127.0.0.1:9",  # whoever starts it is a client of another one
    }
    with running_engine(tmp_path / "home", environment=environment) as process:
        yield process


@pytest.fixture
def outside(tls_engine: EngineProcess, tmp_path: Path, files: CertificateFiles) -> dict[str, str]:
    """What a client is told that has no home of the engine's."""
    return {
        "PYMIGRATE_HOME": str(tmp_path / "nothing"),
        "PYMIGRATE_ENDPOINT": (tls_engine.home / "endpoint").read_text().strip(),
        "PYMIGRATE_TOKEN_FILE": str(tmp_path / "token"),
        "PYMIGRATE_CA_FILE": str(files.authorities),
        "PYMIGRATE_SERVER_NAME": NAME,
    }


@pytest.fixture
def mounted(tls_engine: EngineProcess, tmp_path: Path, files: CertificateFiles) -> Path:
    """A home as a Secret is mounted: what leads to the engine, and nothing else."""
    home = tmp_path / "mounted"
    home.mkdir()
    for name, content in {
        "endpoint": (tls_engine.home / "endpoint").read_bytes(),
        "token": TOKEN.encode(),
        "ca.crt": files.authorities.read_bytes(),
        "server-name": NAME.encode(),
    }.items():
        (home / name).write_bytes(content)
        (home / name).chmod(0o444)
    home.chmod(0o555)
    return home


def pymigrate(*arguments: str, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """One command, with these variables alone."""
    command = [sys.executable, "-m", "pymigrate.engine.main.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=dict(variables))


def over_https(endpoint: str, files: CertificateFiles) -> httpx.Client:
    """A client that checks who answers."""
    context = ssl.create_default_context(cafile=files.authorities)
    context.check_hostname = False  # of an address; the name that the certificate is for leads nowhere here
    return httpx.Client(
        base_url=f"https://{endpoint}",
        headers={"authorization": f"Bearer {TOKEN}"},
        verify=context,
        trust_env=False,
        timeout=SECONDS_MAX,
    )


def told(engine: EngineProcess, surface: str) -> str:
    """Where it says that it serves REST, or the page of metrics."""
    return (engine.home / surface).read_text().strip()


def test_its_own_worker_hosts_and_the_command_line_of_its_home_reach_it(
    tls_engine: EngineProcess, tmp_path: Path
) -> None:
    (tmp_path / "legacy.db").touch()
    with tls_engine.client() as client:
        declare(client, SYSTEM.format(path=tmp_path / "legacy.db"), tmp_path / "system.yaml")
    variables = {"PYMIGRATE_TOKEN_FILE": str(tmp_path / "token")}
    name = "environments/prod/connections/legacy"
    done = pymigrate("test", name, "--home", str(tls_engine.home), variables=variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(name)
    assert not (tls_engine.home / "token").exists()


def test_the_command_line_reaches_it_from_elsewhere_by_variables_alone(outside: dict[str, str]) -> None:
    done = pymigrate("token", variables=outside)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pmt_")


def test_probes_ask_without_a_token(outside: dict[str, str]) -> None:
    done = pymigrate("health", "--ready", variables=outside | {"PYMIGRATE_TOKEN_FILE": ""})
    assert (done.returncode, done.stdout) == (0, "SERVING\n")


@pytest.mark.parametrize("command", ["token", "health"])
def test_the_command_line_tells_why_an_engine_is_not_to_be_trusted(
    outside: dict[str, str], tmp_path: Path, command: str
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(CertificateAuthority("Another").certificate)
    wrong = pymigrate(command, variables=outside | {"PYMIGRATE_CA_FILE": str(other)})
    assert wrong.returncode == 1
    assert f"its certificate is of no authority in {other}" in wrong.stderr
    unnamed = pymigrate(command, variables=outside | {"PYMIGRATE_SERVER_NAME": ""})
    assert unnamed.returncode == 1
    assert "its certificate is not for 127.0.0.1: set PYMIGRATE_SERVER_NAME" in unnamed.stderr


def test_rest_metrics_and_probes_are_served_over_tls(tls_engine: EngineProcess, files: CertificateFiles) -> None:
    with over_https(told(tls_engine, "rest-endpoint"), files) as rest:
        wait_until(lambda: rest.get("/readyz").status_code == 200)
        assert rest.post("/v1/environments", params={"environmentId": "prod"}, json={}).status_code == 200
    with over_https(told(tls_engine, "metrics-endpoint"), files) as metrics:
        assert metrics.get("/livez").text == "alive\n"
        assert "pymigrate_" in metrics.get("/metrics").text
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(str(metrics.base_url).replace("https", "http"), trust_env=False, timeout=SECONDS_MAX)


def test_the_provider_reaches_it_and_tells_why_it_is_not_to_be_trusted(outside: dict[str, str], tmp_path: Path) -> None:
    asked = ("EnvironmentService", "ListEnvironments", environment_pb2.ListEnvironmentsRequest())
    assert not Engine(place_of(outside)).call(*asked).environments
    (tmp_path / "other.pem").write_bytes(CertificateAuthority("Another").certificate)
    stranger = Engine(place_of(outside, ca_file=str(tmp_path / "other.pem")))
    with pytest.raises(grpc.RpcError) as failed:
        stranger.call(*asked)
    with pytest.raises(Refused, match="is of no authority that `ca_file`"):
        refuse(failed.value, "Nothing was read", {})


def test_terraform_applies_over_tls_and_says_why_an_engine_is_not_to_be_trusted(
    tls_engine: EngineProcess,
    outside: dict[str, str],
    tmp_path: Path,
    require_terraform: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in outside.items():
        monkeypatch.setenv(name, value)
    terraform = Terraform(require_terraform, tmp_path / "terraform", tls_engine)
    terraform.write('resource "pymigrate_environment" "small" { environment_id = "small" }')
    terraform.apply()
    assert terraform.resources()["pymigrate_environment.small"]["name"] == "environments/small"
    (tmp_path / "other.pem").write_bytes(CertificateAuthority("Another").certificate)
    monkeypatch.setenv("PYMIGRATE_CA_FILE", str(tmp_path / "other.pem"))
    refused = terraform.run("plan")
    assert refused.code == 1
    assert "is of no authority that" in " ".join(refused.output.replace("│", " ").split())


def test_a_worker_host_runs_on_a_home_that_it_only_reads(
    tls_engine: EngineProcess, mounted: Path, tmp_path: Path
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (mounted, *mounted.iterdir())}
    command = [sys.executable, "-m", "pymigrate.engine.main.worker", f"--home={mounted}"]
    with (tmp_path / "worker.log").open("wb") as log:
        host = subprocess.Popen(
            [*command, "--host=pod-1", "--affinity=shared@prod"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"TMPDIR": str(tmp_path)},
        )
    try:
        wait_until(lambda: host.pid in tls_engine.host_pids() or host.poll() is not None)
        assert host.poll() is None, (tmp_path / "worker.log").read_text()
        host.send_signal(signal.SIGTERM)
        assert host.wait(SECONDS_MAX) == 0
    finally:
        host.kill()
        host.wait()
    assert {path.name: path.stat().st_mtime_ns for path in (mounted, *mounted.iterdir())} == before


def test_rest_in_a_process_of_its_own_runs_on_a_mounted_home_over_tls(
    tls_engine: EngineProcess, mounted: Path, files: CertificateFiles, tmp_path: Path
) -> None:
    mounted.chmod(0o755)
    (mounted / "rest-process-endpoint.new").mkdir()  # which keeps even root from writing there
    mounted.chmod(0o555)
    environment = {k: v for k, v in files.environment.items() if k != "PYMIGRATE_CA_FILE"}
    command = [sys.executable, "-m", "pymigrate.engine.main.cli", "rest", "--home", str(mounted)]
    log = tmp_path / "rest.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0"], stdout=output, stderr=output, env=environment | {"HOME": "/"}
        )
    try:
        wait_until(lambda: "rest.serving" in log.read_text() or process.poll() is not None)
        line = next(line for line in log.read_text().splitlines() if "rest.serving" in line)
        endpoint = line.partition('"rest_endpoint": "')[2].partition('"')[0]
        with over_https(endpoint, files) as rest:
            wait_until(lambda: rest.get("/readyz").status_code == 200)
            assert rest.get("/v1/environments").json() == {}
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS_MAX) == 0
    finally:
        process.kill()
        process.wait()


def test_an_engine_whose_certificate_is_no_pair_says_what_to_set(tmp_path: Path, files: CertificateFiles) -> None:
    files.key.write_text("nothing")
    variables = os.environ | files.environment
    done = pymigrate("serve", "--home", str(tmp_path / "h"), "--listen", "127.0.0.1:0", variables=variables)
    assert done.returncode == 1
    assert "PYMIGRATE_TLS_CERTIFICATE and PYMIGRATE_TLS_KEY name PEM files" in done.stderr


def test_worker_hosts_go_on_with_renewed_authorities(
    tls_engine: EngineProcess, files: CertificateFiles, tmp_path: Path
) -> None:
    (tmp_path / "legacy.db").touch()
    with tls_engine.client() as client:
        declare(client, SYSTEM.format(path=tmp_path / "legacy.db"), tmp_path / "system.yaml")
    another = CertificateAuthority("Another")
    another.issue(files.folder, [NAME])
    with over_https(told(tls_engine, "rest-endpoint"), files) as rest:
        assert rest.get("/livez").status_code == 200
    assert (tls_engine.home / "ca.crt").read_bytes() == another.certificate
    variables = {"PYMIGRATE_TOKEN_FILE": str(tmp_path / "token")}
    done = pymigrate(
        "test", "environments/prod/connections/legacy", "--home", str(tls_engine.home), variables=variables
    )
    assert done.returncode == 0, done.stderr
    with tls_engine.client() as client:
        hosts = client.workers.ListWorkerHosts(worker_pb2.ListWorkerHostsRequest(), **client.options).worker_hosts
    assert len(hosts) == 1
