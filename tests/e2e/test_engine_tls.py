"""An engine that others than this machine reach: TLS from end to end, with its worker hosts, the command line and REST."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority, CertificateFiles
from tests.e2e.engines import EngineProcess, declare, running_engine

TOKEN = "0123456789abcdef0123456789abcdef"
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
def files(tmp_path: Path) -> CertificateFiles:
    return CertificateAuthority().issue(tmp_path / "tls", ["engine.prod.svc"])


@pytest.fixture
def tls_engine(tmp_path: Path, files: CertificateFiles) -> Iterator[EngineProcess]:
    """An engine on every address, known as a service of a cluster is, with a token that it is given."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    environment = {
        **files.environment,
        "PYMIGRATE_LISTEN": "0.0.0.0:0",
        "PYMIGRATE_ADVERTISE": "engine.prod.svc:7433",
        "PYMIGRATE_TOKEN_FILE": str(tmp_path / "token"),
    }
    with running_engine(tmp_path / "home", environment=environment) as process:
        yield process


def pymigrate(*arguments: str, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """One command, with these variables alone."""
    command = [sys.executable, "-m", "pymigrate.engine.main.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=dict(variables))


def test_its_own_worker_hosts_and_the_command_line_of_its_home_reach_it(
    tls_engine: EngineProcess, tmp_path: Path
) -> None:
    with tls_engine.client() as client:
        declare(client, SYSTEM.format(path=tmp_path / "legacy.db"), tmp_path / "system.yaml")
    (tmp_path / "legacy.db").touch()
    variables = {"PYMIGRATE_TOKEN_FILE": str(tmp_path / "token")}
    name = "environments/prod/connections/legacy"
    done = pymigrate("test", name, "--home", str(tls_engine.home), variables=variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(name)
    assert not (tls_engine.home / "token").exists()
