"""The plain command line, as a person types it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.engines import EngineProcess, quickstart

pytestmark = pytest.mark.measured

PLAN = "environments/quickstart/plans/warehouse"


class CommandLine:
    """`pymigrate` against an engine."""

    def __init__(self, engine: EngineProcess) -> None:
        self.home = engine.home

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Runs a command that ends with that exit code; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "pymigrate.engine.main.cli", *arguments],
            env=os.environ | {"PYMIGRATE_HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def pymigrate(engine: EngineProcess) -> CommandLine:
    """The command line of a running engine."""
    return CommandLine(engine)


def test_a_plan_goes_from_its_file_to_the_warehouse(pymigrate: CommandLine, legacy: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(quickstart(legacy, tmp_path / "w.duckdb"))
    assert "environments/quickstart/plans/warehouse created" in pymigrate("apply", "-f", str(file))
    assert "created" not in pymigrate("apply", "-f", str(file))
    assert pymigrate("validate", PLAN).startswith("1. airlines, airports, planes, weather\n2. flights")
    said = pymigrate("start", PLAN)
    assert "flights.flights: published, 336,776 rows" in said
    run = said.splitlines()[0]
    assert "succeeded" in pymigrate("report", run)
    assert "succeeded" in pymigrate("watch", run)
    assert run in pymigrate("status")
    assert "can't be made paused any more" in pymigrate("pause", run, code=1)
    assert "only a failed run" in pymigrate("retry", run, code=1)


@pytest.mark.parametrize(
    "command", [("kpis", "environments/quickstart", "--watch", "--json"), ("dashboard", "--watch", "--json")]
)
def test_what_is_watched_goes_on_with_the_next_engine(
    pymigrate: CommandLine, engine: EngineProcess, legacy: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(quickstart(legacy, tmp_path / "w.duckdb"))
    pymigrate("apply", "-f", str(file))
    with subprocess.Popen(
        [sys.executable, "-m", "pymigrate.engine.main.cli", *command],
        env=os.environ | {"PYMIGRATE_HOME": str(engine.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        assert "environments/quickstart" in watching.stdout.readline()
        engine.kill()
        engine.start()
        assert "environments/quickstart" in watching.stdout.readline()
        watching.kill()


def test_a_run_is_paused_resumed_and_cancelled(pymigrate: CommandLine, legacy: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(quickstart(legacy, tmp_path / "w.duckdb", chunk_bytes=100_000))
    pymigrate("apply", "-f", str(file))
    held = pymigrate("start", PLAN, "--paused", "--trigger", "day=0").strip()
    assert f"{held} paused" in pymigrate("status")
    assert "cancelled" in pymigrate("cancel", held)
    run = pymigrate("start", PLAN, "--no-follow", "--trigger", "day=1").strip()
    assert "paused" in pymigrate("pause", run)
    assert "running" in pymigrate("resume", run)
    pymigrate("cancel", run)
    assert "cancelled" in pymigrate("watch", run, code=1)


def test_a_home_without_an_engine_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pymigrate.engine.main.cli", "status", "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"pymigrate serve --home {tmp_path}" in done.stderr


def test_an_engine_that_is_gone_says_what_to_do(engine: EngineProcess, pymigrate: CommandLine) -> None:
    engine.kill()
    assert "does not answer" in pymigrate("status", code=1)
    engine.start()


def test_a_definition_that_is_wrong_is_told_line_by_line(pymigrate: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    head = "apiVersion: pymigrate.io/v1alpha1\nkind: {}\nmetadata: {{name: {}, environment: e}}\nspec: {}\n"
    file.write_text(
        "---\n".join(
            [
                "apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {name: e}\nspec: {}\n",
                head.format("Connection", "c", "{postgres: {host: h, password: secret}}"),
            ]
        )
    )
    said = pymigrate("apply", "-f", str(file), code=1)
    assert "plan.yaml:9:8: spec.postgres.database: is required" in said
    assert "spec.postgres.password: must be a reference" in said
    file.write_text(head.format("Department", "d", "{ownr: Ann}"))
    assert "did you mean `owner`?" in pymigrate("apply", "-f", str(file), code=1)


def test_the_version_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pymigrate.engine.main.cli", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "pymigrate 0.1.0"
