"""The provider's process as Terraform has it: what a launch takes of the processor, and how soon it ends with what started it."""

import base64
import json
import os
import re
import signal
import sqlite3
import ssl
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
from _figures import Report
from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, tfplugin_pb2, tfplugin_pb2_grpc

from pymigrate.provider.sdk.serving import COOKIE
from tests.e2e.engines import EngineProcess, is_alive, wait_until
from tests.e2e.terraforms import SMALL, Terraform

LAUNCH_CPU_SECONDS_MAX = 0.15
STATE_SECONDS_MAX = 1.0
ORPHAN_SECONDS_MAX = 3.0
WAIT_SECONDS_MAX = 60.0
CALL_SECONDS = 30
POLL_SECONDS = 0.01
SETTLE_SECONDS = 2.0  # so that each wait that was announced has begun
HELD = """
resource "pymigrate_connection" "source" {
  environment   = pymigrate_environment.small.name
  connection_id = "source"
  sqlite        = { path = "%(source)s" }
}
resource "pymigrate_connection" "target" {
  environment   = pymigrate_environment.small.name
  connection_id = "target"
  duckdb        = { path = "%(target)s" }
}
resource "pymigrate_phase" "held" {
  plan       = pymigrate_plan.small.name
  phase_id   = "held"
  department = pymigrate_department.sales.department_id
  gates      = { figures = { point = "before_publication", description = "Nobody ever says yes." } }
  datasets = {
    rows = {
      source = { connection = pymigrate_connection.source.connection_id, relation = "rows" }
      target = { connection = pymigrate_connection.target.connection_id, relation = "rows" }
    }
  }
}
resource "pymigrate_run" "held" {
  plan     = pymigrate_plan.small.name
  triggers = { held = pymigrate_phase.held.definition_hash }
}
resource "pymigrate_run_gate" "held" {
  count = %(waits)d
  run   = pymigrate_run.held.name
}
"""


def launches(report: Report, home: Path, rounds: int) -> None:
    """What a launch takes: with its handshake by TLS, with every schema, and beside it what importing grpc alone takes."""
    home.mkdir(parents=True)
    _launch(home, has_schema=False)  # makes the certificate, once a month
    bare, whole, alone = [], [], []
    for _ in range(rounds):
        bare.append(_launch(home, has_schema=False))
        whole.append(_launch(home, has_schema=True))
        alone.append(_ended(os.posix_spawn(sys.executable, [sys.executable, "-I", "-c", "import grpc"], os.environ)))
    for what, found, goal in (
        ("", bare, f"at most {LAUNCH_CPU_SECONDS_MAX:g} s"),
        (", every schema included, which a command asks for once", whole, "told beside it"),
    ):
        value = statistics.median(found)
        report.add(
            f"processor's time of a launch{what}",
            value,
            "s",
            reference="python that imports grpc and ends",
            reference_value=statistics.median(alone),
            goal=goal,
            met=not goal.startswith("at most") or value <= LAUNCH_CPU_SECONDS_MAX,
        )


def ends(report: Report, folder: Path, engine: EngineProcess, waits: int) -> None:
    """Ctrl-C, then kill -9, with many waits for a run in flight."""
    terraform = Terraform("terraform", folder, engine)
    with sqlite3.connect(folder / "source.db") as rows:
        rows.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY)")
        rows.execute("INSERT INTO rows VALUES (1)")
    rows.close()
    terraform.write(SMALL + HELD % {"source": folder / "source.db", "target": folder / "target.duckdb", "waits": waits})
    terraform.must("init")
    process = _waiting(terraform, waits)
    began = time.perf_counter()
    os.killpg(process.pid, signal.SIGINT)
    process.wait()
    seconds = time.perf_counter() - began
    kept = json.loads((folder / "terraform.tfstate").read_text())["resources"]
    kinds = {each["type"]: len(each["instances"]) for each in kept}
    is_whole = kinds.get("pymigrate_run_gate") == waits and kinds.get("pymigrate_run") == 1
    report.add(
        f"from Ctrl-C to the end of terraform with {waits} waits in flight, of which {kinds.get('pymigrate_run_gate', 0)} are in the state",
        seconds,
        "s",
        reference="what is asked for",
        reference_value=STATE_SECONDS_MAX,
        goal=f"at most {STATE_SECONDS_MAX:g} s, and all of them in the state",
        met=is_whole and seconds <= STATE_SECONDS_MAX,
    )
    process = _waiting(terraform, waits)
    providers = _children(process.pid)
    began = time.perf_counter()
    process.kill()
    process.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in providers), WAIT_SECONDS_MAX, POLL_SECONDS)
    seconds = time.perf_counter() - began
    report.add(
        f"from kill -9 of terraform with {waits} waits in flight to the end of its last provider",
        seconds,
        "s",
        reference="what is asked for",
        reference_value=ORPHAN_SECONDS_MAX,
        goal=f"at most {ORPHAN_SECONDS_MAX:g} s",
        met=bool(providers) and seconds <= ORPHAN_SECONDS_MAX,
    )


def _launch(home: Path, *, has_schema: bool) -> float:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PLUGIN_", "TF_", "XDG_"))}
    environment = kept | {"HOME": str(home), COOKIE[0]: COOKIE[1], "PLUGIN_CLIENT_CERT": "given"}
    end, begin = os.pipe()
    command = [sys.executable, "-I", "-m", "pymigrate.provider"]
    log = os.open(home / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    outputs = [(os.POSIX_SPAWN_DUP2, begin, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    pid = os.posix_spawn(command[0], command, environment, file_actions=outputs)
    os.close(begin)
    os.close(log)
    with os.fdopen(end) as handshake:
        fields = handshake.readline().strip().split("|")
    der = base64.b64decode(fields[5] + "=" * (-len(fields[5]) % 4))
    trusted = grpc.ssl_channel_credentials(ssl.DER_cert_to_PEM_cert(der).encode())
    options = [("grpc.ssl_target_name_override", "localhost")]
    with grpc.secure_channel(f"unix://{fields[3]}", trusted, options) as channel:
        if has_schema:
            stub = tfplugin_pb2_grpc.ProviderStub(channel)
            stub.GetProviderSchema(tfplugin_pb2.GetProviderSchema.Request(), timeout=CALL_SECONDS)
        controller = grpc_controller_pb2_grpc.GRPCControllerStub(channel)
        controller.Shutdown(grpc_controller_pb2.Empty(), timeout=CALL_SECONDS)
    return _ended(pid)


def _ended(pid: int) -> float:
    _, status, used = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"process {pid} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime


def _waiting(terraform: Terraform, waits: int) -> "subprocess.Popen[Any]":
    """An apply whose waits are all in flight."""
    log = terraform.folder / "apply.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            terraform.command("apply", "-auto-approve", f"-parallelism={waits + 4}"),
            env=terraform.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    begun = re.compile(r"^pymigrate_run_gate\.held\[\d+\]: Creating\.\.\.", re.MULTILINE)

    def is_waiting() -> bool:
        if process.poll() is not None:
            raise SystemExit(f"terraform ended:\n{log.read_text()[-4000:]}")
        return len(begun.findall(log.read_text())) == waits

    wait_until(is_waiting, WAIT_SECONDS_MAX)
    threading.Event().wait(SETTLE_SECONDS)
    return process


def _children(pid: int) -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit() and _parent(each) == pid]


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended since it was listed
        return 0
