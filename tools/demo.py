"""`make demo`: five departments' legacy systems become one warehouse, from nothing, under `.demo/`.

With terraform on PATH it runs init, plan and apply on examples/terraform/quickstart; without, it applies the same plan from its YAML
form through gRPC. What it started it stops at its end.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template

import grpc
from rich.console import Console

from pymigrate.engine.entrypoints.cli.client import Client, connected
from pymigrate.engine.entrypoints.cli.commands import console
from pymigrate.engine.entrypoints.cli.progress import follow, table
from pymigrate.v1 import run_pb2
from tools.legacy_systems import FLIGHTS, lay_out

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / ".demo"
HOME = DEMO / "engine"
TERRAFORM = DEMO / "terraform"
TERRAFORM_HOME = DEMO / "home"
LEGACY = DEMO / "legacy"
WAREHOUSE = DEMO / "warehouse.duckdb"
PLAN = "environments/quickstart/plans/warehouse"
READY_SECONDS = 60
APPLY_SECONDS = 900
STOP_SECONDS = 60
NOTHING, FAILED, CHANGES = 0, 1, 2


def main() -> int:
    """The whole demo; the exit code."""
    show = console()
    lay_out(LEGACY)
    show.print(f"[bold]Five departments' systems[/] are in {_short(LEGACY)}", highlight=False)
    with _engine():
        has_terraform = shutil.which("terraform") is not None
        if not has_terraform:
            show.print("terraform is not on PATH: the same plan is applied from its YAML form through gRPC")
        with connected(HOME) as client:
            code = _with_terraform(client, show) if has_terraform else _with_yaml(client, show)
            if code == NOTHING:
                code = _report(client, show)
    if code == NOTHING:
        _tell_what_next(show, has_terraform=has_terraform)
    return code


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    """An engine of the demo's own, drained and stopped at the end."""
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "endpoint").unlink(missing_ok=True)
    with (DEMO / "engine.log").open("ab") as log:
        command = [
            sys.executable,
            "-m",
            "pymigrate.engine.main.cli",
            "serve",
            "--home",
            str(HOME),
            "--listen",
            "127.0.0.1:0",
        ]
        engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_ready(engine)
        yield
    finally:
        engine.send_signal(signal.SIGTERM)
        try:
            engine.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()


def _wait_until_ready(engine: "subprocess.Popen[bytes]") -> None:
    for _ in range(READY_SECONDS * 10):
        if (HOME / "endpoint").exists():
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            engine.wait(0.1)
            raise SystemExit(f"the engine ended at once: {_short(DEMO / 'engine.log')} says why")
    else:
        raise SystemExit(f"the engine was not ready within {READY_SECONDS} s: {_short(DEMO / 'engine.log')} says why")
    with grpc.insecure_channel((HOME / "endpoint").read_text().strip()) as channel:
        grpc.channel_ready_future(channel).result(timeout=READY_SECONDS)


def _with_terraform(client: Client, show: Console) -> int:
    """init, plan and apply; the run's progress is shown while apply waits at its gate."""
    TERRAFORM.mkdir(parents=True, exist_ok=True)
    for file in (ROOT / "examples/terraform/quickstart").glob("*.tf"):
        shutil.copy(file, TERRAFORM)
    (TERRAFORM / "terraform.tfvars").write_text(f'legacy    = "{LEGACY}"\nwarehouse = "{WAREHOUSE}"\n')
    environment = terraform_environment()
    install = [sys.executable, "-m", "pymigrate.engine.main.cli", "provider", "install"]
    subprocess.run(install, env=environment, check=True, stdout=subprocess.DEVNULL)
    show.print("[bold]terraform init[/]")
    if _terraform("init", "-input=false", "-no-color") != NOTHING:
        return FAILED
    show.print("[bold]terraform plan[/]")
    planned = _terraform("plan", "-input=false", "-no-color", "-detailed-exitcode", "-out=demo.tfplan", is_shown=False)
    if planned == NOTHING:
        show.print("No changes: the warehouse is as it is declared.")
        return NOTHING
    if planned != CHANGES:
        return FAILED
    show.print("[bold]terraform apply[/]")
    with (DEMO / "apply.log").open("wb") as log:
        command = ["terraform", f"-chdir={TERRAFORM}", "apply", "-input=false", "-no-color", "demo.tfplan"]
        apply = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        name = _wait_for_run(client, apply)
        if name:
            follow(client, name, show)
        code = apply.wait(APPLY_SECONDS)
    if code != 0:
        sys.stderr.write((DEMO / "apply.log").read_text())
        return FAILED
    show.print((DEMO / "apply.log").read_text().strip().splitlines()[-1] if not name else "Apply complete.")
    return NOTHING


def _wait_for_run(client: Client, apply: "subprocess.Popen[bytes]") -> str:
    """The run that apply starts; empty when apply ended without one."""
    earlier = {run.name for run in _runs(client)}
    while True:
        fresh = [run.name for run in _runs(client) if run.name not in earlier or not run.end_time.seconds]
        if fresh:
            return fresh[0]
        with contextlib.suppress(subprocess.TimeoutExpired):
            apply.wait(0.2)
            return ""


def _with_yaml(client: Client, show: Console) -> int:
    """The same plan from its YAML form, then a run of it."""
    text = (ROOT / "examples/gitops/quickstart/warehouse.yaml").read_text()
    definitions = DEMO / "warehouse.yaml"
    definitions.write_text(Template(text).substitute(LEGACY=LEGACY, WAREHOUSE=WAREHOUSE))
    command = [sys.executable, "-m", "pymigrate.engine.main.cli", "apply", "-f", str(definitions), "--home", str(HOME)]
    if subprocess.run(command, check=False).returncode != 0:
        return FAILED
    run = client.runs.StartRun(run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata)
    if run.end_time.seconds and run.state == run_pb2.RUN_STATE_SUCCEEDED:
        show.print("No changes: the warehouse is as it is declared.")
        return NOTHING
    return NOTHING if follow(client, run.name, show).state == run_pb2.RUN_STATE_SUCCEEDED else FAILED


def _report(client: Client, show: Console) -> int:
    """The table of datasets; fails when the newest run did not bring every row."""
    newest = _runs(client)[0]
    show.print(table(newest))
    if newest.state != run_pb2.RUN_STATE_SUCCEEDED:
        sys.stderr.write(f"{newest.name} did not succeed: {newest.failure.message}\n")
        return FAILED
    arrived = newest.phases["flights"].datasets["flights"].rows
    if arrived != FLIGHTS:
        sys.stderr.write(f"{arrived:,} of {FLIGHTS:,} flights arrived\n")
        return FAILED
    return NOTHING


def _tell_what_next(show: Console, *, has_terraform: bool) -> None:
    show.print(f"The warehouse is {_short(WAREHOUSE)}. Bring the engine back for a look around with:", highlight=False)
    show.print(f"  .venv/bin/pymigrate serve --home {_short(HOME)}", highlight=False, soft_wrap=True)
    if has_terraform:
        command = f"HOME={TERRAFORM_HOME} PYMIGRATE_HOME={HOME} terraform -chdir={_short(TERRAFORM)} plan"
        show.print("With it back, terraform finds nothing to change:", highlight=False)
        show.print(f"  {command}", highlight=False, soft_wrap=True)


def terraform_environment() -> dict[str, str]:
    """The environment that keeps everything of terraform under the demo's folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "XDG_"))}
    return kept | {
        "HOME": str(TERRAFORM_HOME),
        "PYMIGRATE_HOME": str(HOME),
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
    }


def _terraform(*arguments: str, is_shown: bool = False) -> int:
    command = ["terraform", f"-chdir={TERRAFORM}", *arguments]
    done = subprocess.run(command, env=terraform_environment(), check=False, capture_output=not is_shown, text=True)
    if done.returncode == FAILED:
        sys.stderr.write(f"{done.stdout}{done.stderr}")
    return done.returncode


def _runs(client: Client) -> list[run_pb2.Run]:
    try:
        return list(client.runs.ListRuns(run_pb2.ListRunsRequest(parent=PLAN), metadata=client.metadata).runs)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return []
        raise


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT))


if __name__ == "__main__":
    TERRAFORM_HOME.mkdir(parents=True, exist_ok=True)
    sys.exit(main())
