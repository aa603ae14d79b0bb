"""The provider's process: what it says at start-up, what it leaves alone, and when it ends."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, tfplugin_pb2, tfplugin_pb2_grpc

from pymigrate.provider import __version__
from pymigrate.provider.install import install
from pymigrate.provider.sdk.serving import COOKIE
from tests.e2e.engines import is_alive, wait_until

COMMAND = [sys.executable, "-I", "-m", "pymigrate.provider"]


def environment(home: Path, **more: str) -> dict[str, str]:
    """Terraform's environment for a plugin, without TLS unless it is asked for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLUGIN_")}
    return kept | {"HOME": str(home), COOKIE[0]: COOKIE[1]} | more


@contextlib.contextmanager
def running(home: Path, **more: str) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """A provider and the fields of its handshake."""
    process = subprocess.Popen(
        COMMAND, env=environment(home, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip().split("|")
    finally:
        process.kill()
        process.communicate()


def test_without_terraforms_cookie_it_says_what_it_is_and_ends(tmp_path: Path) -> None:
    bare = {name: value for name, value in environment(tmp_path).items() if name != COOKIE[0]}
    done = subprocess.run(COMMAND, env=bare, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "pymigrate provider install" in done.stderr


def test_the_handshake_is_all_that_reaches_stdout_and_the_socket_is_its_owners_alone(tmp_path: Path) -> None:
    with running(tmp_path) as (process, (core, protocol, network, socket, kind, certificate)):
        assert (core, protocol, network, kind, certificate) == ("1", "6", "unix", "grpc", "")
        assert stat.S_IMODE(Path(socket).parent.stat().st_mode) == 0o700
        with grpc.insecure_channel(f"unix://{socket}") as channel:
            stub = tfplugin_pb2_grpc.ProviderStub(channel)
            schema = stub.GetProviderSchema(tfplugin_pb2.GetProviderSchema.Request(), timeout=30)
            assert "pymigrate_phase" in schema.resource_schemas
            grpc_controller_pb2_grpc.GRPCControllerStub(channel).Shutdown(grpc_controller_pb2.Empty(), timeout=30)
        process.wait(30)
        assert process.stdout is not None
        assert process.stdout.read() == ""


def test_with_terraforms_certificate_the_socket_speaks_tls(tmp_path: Path) -> None:
    import base64
    import ssl

    with running(tmp_path, PLUGIN_CLIENT_CERT="given") as (_, fields):
        der = base64.b64decode(fields[5] + "=" * (-len(fields[5]) % 4))
        trusted = grpc.ssl_channel_credentials(ssl.DER_cert_to_PEM_cert(der).encode())
        options = [("grpc.ssl_target_name_override", "localhost")]
        with grpc.secure_channel(f"unix://{fields[3]}", trusted, options) as channel:
            stub = tfplugin_pb2_grpc.ProviderStub(channel)
            assert stub.GetMetadata(tfplugin_pb2.GetMetadata.Request(), timeout=30).resources


def test_a_home_that_can_not_be_written_does_not_fail_the_handshake(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("no folder")
    with running(nowhere, PLUGIN_CLIENT_CERT="given") as (_, fields):
        assert len(fields) == 6


def test_ctrl_c_is_terraforms_to_handle(tmp_path: Path) -> None:
    with running(tmp_path) as (process, fields):
        process.send_signal(signal.SIGINT)
        with grpc.insecure_channel(f"unix://{fields[3]}") as channel:
            stub = tfplugin_pb2_grpc.ProviderStub(channel)
            assert stub.GetMetadata(tfplugin_pb2.GetMetadata.Request(), timeout=30).resources
        assert process.poll() is None


def test_it_ends_when_the_terraform_that_started_it_is_gone(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True); "
        "p.stdout.readline(); print(p.pid, flush=True)"
    )
    parent = subprocess.run(
        [sys.executable, "-c", script, *COMMAND],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    orphan = int(parent.stdout)
    wait_until(lambda: not is_alive(orphan), seconds=30)


def test_a_launcher_of_another_version_is_told_apart(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND,
        env=environment(tmp_path, PYMIGRATE_PROVIDER_VERSION="9.9.9"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "9.9.9" in done.stderr
    assert "pymigrate provider install" in done.stderr


def test_start_up_imports_nothing_that_is_slow_once_the_certificate_is_kept(tmp_path: Path) -> None:
    with running(tmp_path, PLUGIN_CLIENT_CERT="given"):
        pass
    slow = ("networkx", "duckdb", "pyarrow", "sqlmodel", "cryptography", "numpy")
    program = (
        "import sys, threading\n"
        "from pymigrate.provider.sdk import certificates\n"
        "from pymigrate.provider.provider import PymigrateProvider\n"
        "from pymigrate.provider.sdk.servicer import Servicer\n"
        "certificates.load(certificates.cache_path())\n"
        "Servicer(PymigrateProvider()).GetProviderSchema(None, None)\n"
        f"print([name for name in {slow!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_a_launch_that_is_asked_for_no_schema_builds_none(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from pymigrate.provider.provider import PymigrateProvider\n"
        "from pymigrate.provider.sdk.serving import main\n"
        "from pymigrate.provider.sdk.servicer import Servicer\n"
        "Servicer(PymigrateProvider())\n"
        "later = ('pymigrate.v1', 'pymigrate.provider.resources', 'pymigrate.provider.data_sources', 'google.rpc', 'grpc_status', 'uuid')\n"
        "print([name for name in sys.modules if name.startswith(later) and name not in before])\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_logs_are_lines_that_terraform_reads(tmp_path: Path) -> None:
    program = (
        "import logging\nfrom pymigrate.provider.sdk import logs\nlogs.configure()\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.getLogger('x').exception('went wrong')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    (line,) = [json.loads(text) for text in done.stderr.splitlines()]
    assert (line["@level"], line["@message"], line["@module"]) == ("error", "went wrong", "pymigrate")
    assert "ZeroDivisionError" in line["error"]
    assert done.stdout == ""


def test_the_launcher_is_the_same_for_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = []
    for name, interpreter in (("a", "/opt/one/bin/python"), ("b", "/opt/two/bin/python")):
        monkeypatch.setenv("HOME", str(tmp_path / name))
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        launcher = install(__version__, interpreter)
        bodies.append(launcher.read_bytes())
        done = subprocess.run([launcher], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert interpreter in done.stderr
    assert bodies[0] == bodies[1]


def test_the_version_is_the_distributions() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
