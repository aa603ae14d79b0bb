"""The Terraform provider against the builtin terraform_data: the processor's time and the wall of plans with nothing to do, and of applies;
what a launch takes, and how soon Ctrl-C and kill -9 end what waits.

Both sides are the same number of resources of about the same size in one configuration, through the real terraform with its defaults; ours
starts the installed provider as a user's terraform does, and what the engine takes is counted with it. Sides take turns.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _figures import Report, arguments  # noqa: E402 (the path comes first)
from _terraform_process import ends, launches  # noqa: E402
from _terraform_seeded import seed_data, seed_phases  # noqa: E402

from tests.e2e.engines import EngineProcess, running_engine  # noqa: E402
from tests.e2e.terraforms import HEADER, Terraform  # noqa: E402

PLANS = 10
CPU_RATIO_MAX = 2.0
PLAN_WALL_SECONDS_MAX = 6.0
LARGE_WALL_SECONDS_MAX = 30.0
SMALL_EXTRA_SECONDS_MAX = 0.6
TICKS = os.sysconf("SC_CLK_TCK")
OURS = """
resource "pymigrate_environment" "e" { environment_id = "e" }
resource "pymigrate_department" "d" {
  environment   = pymigrate_environment.e.name
  department_id = "d"
  owner         = "Sales"
}
resource "pymigrate_connection" "source" {
  environment   = pymigrate_environment.e.name
  connection_id = "source"
  sqlite        = { path = "/srv/source.db" }
}
resource "pymigrate_connection" "target" {
  environment   = pymigrate_environment.e.name
  connection_id = "target"
  duckdb        = { path = "/srv/target.duckdb" }
}
resource "pymigrate_plan" "p" {
  count       = %(plans)d
  environment = pymigrate_environment.e.name
  plan_id     = "p${count.index}"
}
resource "pymigrate_phase" "x" {
  count      = %(resources)d
  plan       = pymigrate_plan.p[count.index %% %(plans)d].name
  phase_id   = "x${count.index}"
  department = pymigrate_department.d.department_id
  datasets = {
    rows = {
      source       = { connection = pymigrate_connection.source.connection_id, relation = "t${count.index}" }
      target       = { connection = pymigrate_connection.target.connection_id, relation = "t${count.index}" }
      key          = ["id"]
      verification = "full"
    }
  }
}
"""
THEIRS = """
resource "terraform_data" "x" {
  count = %(resources)d
  input = {
    plan       = "p${count.index %% %(plans)d}"
    phase_id   = "x${count.index}"
    department = "d"
    datasets = {
      rows = {
        source       = { connection = "source", relation = "t${count.index}" }
        target       = { connection = "target", relation = "t${count.index}" }
        key          = ["id"]
        verification = "full"
      }
    }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took: of the processor by itself and whatever it started, of the engine's beside it, and of time."""

    cpu_seconds: float
    engine_seconds: float
    wall_seconds: float

    @property
    def whole_seconds(self) -> float:
        """The processor's time of both."""
        return self.cpu_seconds + self.engine_seconds


@dataclass(frozen=True, slots=True)
class Size:
    """How many resources, how often a plan is made, how many waits are interrupted, and how many launches are measured."""

    small: int
    middle: int
    large: int
    rounds: int
    waits: int
    launches: int


FULL = Size(10, 1_000, 3_000, 3, 60, 11)
QUICK = Size(10, 100, 0, 3, 60, 5)
TINY = Size(2, 12, 0, 1, 3, 1)


class Side:
    """A working directory of one side."""

    def __init__(self, folder: Path, engine: EngineProcess, configuration: str, *, has_provider: bool) -> None:
        self.terraform = Terraform(shutil.which("terraform") or "terraform", folder, engine)
        (folder / "main.tf").write_text((HEADER if has_provider else "") + configuration)
        self.terraform.must("init")

    def configured(self, configuration: str) -> Path:
        """The folder, with another configuration."""
        (self.terraform.folder / "main.tf").write_text(configuration)
        return self.terraform.folder

    def cost(self, *arguments: str) -> Cost:
        """Runs a command that must succeed."""
        assert self.terraform.engine.process is not None
        engine = self.terraform.engine.process.pid
        before, began = _ticks(engine), time.perf_counter()
        log = self.terraform.folder / "output.log"
        with log.open("wb") as output:
            pid = os.posix_spawn(
                self.terraform.program,
                self.terraform.command(*arguments),
                self.terraform.environment(),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
                ],
            )
            _, status, used = os.wait4(pid, 0)
        wall = time.perf_counter() - began
        if os.waitstatus_to_exitcode(status):
            raise SystemExit(f"terraform {' '.join(arguments)} failed:\n{log.read_text()[-4000:]}")
        return Cost(used.ru_utime + used.ru_stime, _ticks(engine) - before, wall)


def main() -> None:
    """Measures, prints and keeps."""
    options: argparse.Namespace = arguments(__doc__ or "")
    size = TINY if options.tiny else QUICK if options.quick else FULL
    report = Report("terraform", ("tf", "grpcio", "protobuf"))
    with tempfile.TemporaryDirectory() as folder:
        launches(report, Path(folder) / "launched", size.launches)
        with running_engine(Path(folder) / "engine-waits") as engine:
            ends(report, Path(folder) / "waits", engine, size.waits)
        for name, count in (("small", size.small), ("middle", size.middle), ("large", size.large)):
            if count:
                with running_engine(Path(folder) / f"engine-{name}") as engine:
                    _measure(report, Path(folder) / name, engine, name, count, size.rounds)
                report.write(options.results)  # what is stopped later keeps these


def _measure(report: Report, folder: Path, engine: EngineProcess, name: str, count: int, rounds: int) -> None:
    is_large = name == "large"
    words = {"resources": PLANS if is_large else count, "plans": PLANS}
    ours = Side(folder / "ours", engine, OURS % words, has_provider=True)
    theirs = Side(folder / "theirs", engine, THEIRS % words, has_provider=False)
    applied, theirs_applied = (side.cost("apply", "-auto-approve") for side in (ours, theirs))
    if is_large:
        words["resources"] = count
        seed_phases(ours.configured(HEADER + OURS % words), engine, count)
        seed_data(theirs.configured(THEIRS % words), count)
    plans: list[Cost] = []
    theirs_plans: list[Cost] = []
    for _ in range(rounds if not is_large else 1):
        plans.append(ours.cost("plan", "-detailed-exitcode"))
        theirs_plans.append(theirs.cost("plan", "-detailed-exitcode"))
    what = f"{count:,} phases in {PLANS} plans"

    def median(of: list[Cost], figure: Callable[[Cost], float]) -> float:
        return statistics.median(figure(cost) for cost in of)

    cpu, theirs_cpu = (median(each, lambda cost: cost.whole_seconds) for each in (plans, theirs_plans))
    wall, theirs_wall = (median(each, lambda cost: cost.wall_seconds) for each in (plans, theirs_plans))
    goal_seconds = {"small": theirs_wall + SMALL_EXTRA_SECONDS_MAX, "middle": PLAN_WALL_SECONDS_MAX}.get(
        name, LARGE_WALL_SECONDS_MAX
    )
    report.add(
        f"processor's time of a plan with nothing to do, engine included, {what}",
        cpu,
        "s",
        reference=f"{count:,} terraform_data",
        reference_value=theirs_cpu,
        goal=f"at most {CPU_RATIO_MAX:g} times of it" if name == "middle" else "told beside it",
        met=name != "middle" or cpu <= CPU_RATIO_MAX * theirs_cpu,
    )
    report.add(
        f"processor's time of a plan with nothing to do, the engine's share, {what}",
        median(plans, lambda cost: cost.engine_seconds),
        "s",
        reference="the whole",
        reference_value=cpu,
        goal="told beside it",
        met=True,
    )
    report.add(
        f"wall of a plan with nothing to do, {what}",
        wall,
        "s",
        reference=f"{count:,} terraform_data",
        reference_value=theirs_wall,
        goal=f"at most {goal_seconds:.2g} s",
        met=wall <= goal_seconds,
    )
    if is_large:
        return
    report.add(
        f"wall of the first apply, {what}",
        applied.wall_seconds,
        "s",
        reference=f"{count:,} terraform_data",
        reference_value=theirs_applied.wall_seconds,
        goal="no slower than it" if name == "middle" else "told beside it",
        met=name != "middle" or applied.wall_seconds <= theirs_applied.wall_seconds,
    )


def _ticks(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
