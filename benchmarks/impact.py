"""Impact analysis against what happens: the downtime of each phase as it was predicted, and as five real runs measured it.

Every configuration is analyzed once, with the default probes and nothing learned before (`first`), then run; then it is analyzed again
with what those runs have taught (`learned`). The reference is the median of the measured downtimes: of an offline or read-only phase from
its first lane's start to its publication, of an online one from the moment that writes were blocked. Nothing is tuned for a configuration.

What was found of each phase is kept beside the figures, so that configurations can be measured in several sittings (`--merge`).
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _figures import RESULTS, Report  # noqa: E402
from _ground_truth import Kept, require, told  # noqa: E402
from _impact_scenes import SIZES, Place, Scene, scenes  # noqa: E402

from pymigrate.engine.entrypoints.cli.client import Client  # noqa: E402
from pymigrate.v1 import impact_pb2, run_pb2  # noqa: E402
from tests.e2e.engines import EngineProcess, declare, ended  # noqa: E402
from tests.servers import mariadb_program, running_cluster, running_mariadb  # noqa: E402

RUN_SECONDS_MAX = 900
ERROR_MAX, SECONDS_MAX = 0.1, 0.5
MEDIAN_ERROR_MAX = 0.05
COVERED_MIN = 0.8
QUICK = ("PostgreSQL, one lane", "PostgreSQL to DuckDB")


@dataclass(frozen=True, slots=True)
class Predicted:
    """The write downtime of one phase, in seconds."""

    p50: float
    p90: float
    basis: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One phase of one configuration: as it was predicted before and after its runs, and the downtimes that were measured."""

    scene: str
    phase: str
    first: Predicted
    learned: Predicted
    measured: tuple[float, ...]
    date: str

    @staticmethod
    def read(kept: dict[str, Any]) -> "Outcome":
        """One that was kept as JSON."""
        predictions = {name: Predicted(**kept[name]) for name in ("first", "learned")}
        return Outcome(**{**kept, **predictions, "measured": tuple(kept["measured"])})

    @property
    def median(self) -> float:
        """Of the measured downtimes."""
        return statistics.median(self.measured)

    def error(self, predicted: Predicted) -> float:
        """How far the median prediction lies off, as a share of the measured median."""
        return abs(predicted.p50 - self.median) / self.median

    def is_near(self, predicted: Predicted) -> bool:
        """Within 10%, or half a second where that is more."""
        return abs(predicted.p50 - self.median) <= max(ERROR_MAX * self.median, SECONDS_MAX)

    def covered(self, predicted: Predicted) -> int:
        """The outcomes at or below the ninth decile."""
        return sum(seconds <= predicted.p90 for seconds in self.measured)


def definitions(scene: Scene, place: Place, environment: str, now: datetime) -> str:
    """The configuration's environment as documents."""
    where = {"environment": environment}
    documents: list[dict[str, object]] = [
        {"kind": "Environment", "metadata": {"name": environment}},
        {
            "kind": "Department",
            "metadata": {"name": "sales", **where},
            "spec": {"owner": "Ann", "downtimeCostPerHour": {"currencyCode": "EUR", "amount": 1000}},
        },
    ]
    for name, spec in place.connections(scene.connections).items():
        documents.append({"kind": "Connection", "metadata": {"name": name, **where}, "spec": spec})
    more = scene.windows(now) if scene.windows else {}
    spec = {"phases": scene.phases, **scene.plan, **more}
    documents.append({"kind": "Plan", "metadata": {"name": "p", **where}, "spec": spec})
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in documents)


def predicted(client: Client, plan: str) -> dict[str, Predicted]:
    """What is predicted for each phase now."""
    asked = impact_pb2.AnalyzeImpactRequest(plan=plan)
    found = client.impacts.AnalyzeImpact(asked, metadata=client.metadata, timeout=RUN_SECONDS_MAX)
    return {
        name: Predicted(
            phase.write_downtime_seconds.p50,
            phase.write_downtime_seconds.p90,
            "/".join(sorted({dataset.basis for dataset in phase.datasets.values()})),
        )
        for name, phase in found.phases.items()
    }


def measured(client: Client, plan: str, number: int, ended_runs: list[Kept]) -> dict[str, float]:
    """The write downtime of each phase in one run; what is told of it is added to those that have ended."""
    asked = run_pb2.StartRunRequest(parent=plan, run=run_pb2.Run(triggers={"number": str(number)}))
    name = client.runs.StartRun(asked, metadata=client.metadata, timeout=RUN_SECONDS_MAX).name
    run = ended(client, name, RUN_SECONDS_MAX)
    if run.state != run_pb2.RUN_STATE_SUCCEEDED:
        raise AssertionError(run.failure.message)
    ended_runs.append(told(client, run))
    events = client.runs.ListRunEvents(
        run_pb2.ListRunEventsRequest(parent=name, page_size=1_000), metadata=client.metadata, timeout=60
    ).events
    found = {}
    for phase, each in run.phases.items():
        begun = min(dataset.start_time.ToDatetime(UTC) for dataset in each.datasets.values())
        blocked = [
            event.time.ToDatetime(UTC)
            for event in events
            if event.type == "phase.verifying" and event.subject.endswith(f"/phases/{phase}")
        ]
        is_online = any(dataset.lag_seconds >= 0 for dataset in each.datasets.values())
        start = blocked[0] if is_online else begun
        found[phase] = (each.end_time.ToDatetime(UTC) - start).total_seconds()
    return found


def played(
    client: Client, scene: Scene, place: Place, number: int, folder: Path, ended_runs: list[Kept]
) -> Iterator[Outcome]:
    """Analyzes and runs one configuration."""
    environment = f"scene{number}"
    plan = f"environments/{environment}/plans/p"

    def declared() -> None:
        declare(client, definitions(scene, place, environment, datetime.now(UTC)), folder / f"{environment}.yaml")

    declared()
    first = predicted(client, plan)
    runs = []
    for at in range(place.size.runs):
        if scene.windows:
            declared()
        runs.append(measured(client, plan, at, ended_runs))
    if scene.windows:
        declared()
    learned = predicted(client, plan)
    for phase in sorted(scene.phases):
        downtimes = tuple(run[phase] for run in runs)
        yield Outcome(scene.name, phase, first[phase], learned[phase], downtimes, datetime.now(UTC).date().isoformat())


def tell(report: Report, outcome: Outcome) -> None:
    """One phase as figures."""
    spread = f"measured {min(outcome.measured):.2f} to {max(outcome.measured):.2f} s"
    for what, found in (("first", outcome.first), ("learned", outcome.learned)):
        report.add(
            f"{outcome.scene}, phase {outcome.phase}, {what} ({found.basis}; P90 {found.p90:.2f} s; {spread})",
            found.p50,
            "s",
            reference="median of the measured downtimes",
            reference_value=outcome.median,
            goal="within 10% or 0.5 s",
            met=outcome.is_near(found),
        )


def sum_up(report: Report, outcomes: list[Outcome]) -> None:
    """All configurations together."""
    for what in ("first", "learned"):
        found = [(outcome, getattr(outcome, what)) for outcome in outcomes]
        error = statistics.median(outcome.error(prediction) for outcome, prediction in found)
        covered = sum(outcome.covered(prediction) for outcome, prediction in found)
        runs = sum(len(outcome.measured) for outcome in outcomes)
        near = sum(outcome.is_near(prediction) for outcome, prediction in found)
        report.add(
            f"{what}: phases within 10% or 0.5 s",
            near,
            "phases",
            reference="all of them",
            reference_value=len(found),
            goal="every one",
            met=near == len(found),
        )
        report.add(
            f"{what}: median error over {len(found)} phases",
            error,
            "of what was measured",
            reference="what is asked for",
            reference_value=MEDIAN_ERROR_MAX,
            goal="at most 0.05",
            met=error <= MEDIAN_ERROR_MAX,
        )
        report.add(
            f"{what}: outcomes at or below the P90",
            covered / runs,
            "of all",
            reference="what is asked for",
            reference_value=COVERED_MIN,
            goal="at least 0.8",
            met=covered / runs >= COVERED_MIN,
        )
    spreads = [(max(o.measured) - min(o.measured)) / o.median for o in outcomes]
    report.add(
        "spread of the runs (greatest less least, over the median), in the median of the phases",
        statistics.median(spreads),
        "of what was measured",
        reference="what predictions may lie off",
        reference_value=ERROR_MAX,
        goal="told beside the predictions",
        met=True,
    )


def merged(outcomes: list[Outcome], results: Path) -> list[Outcome]:
    """With what was kept of the configurations that were not measured now, in their order; nothing is taken of one that is no more."""
    path, order = results / "impact.json", [scene.name for scene in scenes()]
    kept = json.loads(path.read_text()).get("outcomes", []) if path.exists() else []
    now = {outcome.scene for outcome in outcomes}
    others = [Outcome.read(each) for each in kept if each["scene"] in order and each["scene"] not in now]
    return sorted([*outcomes, *others], key=lambda outcome: (order.index(outcome.scene), outcome.phase))


def main() -> None:
    """Measures and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a first look, within 50 seconds")
    parser.add_argument("--tiny", action="store_true", help="the smallest size; its figures say nothing")
    parser.add_argument(
        "--scene", action="append", help="only configurations whose name contains this; may be repeated"
    )
    parser.add_argument(
        "--merge", action="store_true", help="keep what the results tell of configurations that are not measured now"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON")
    given = parser.parse_args()
    is_short = given.tiny or given.quick
    size = SIZES["tiny" if given.tiny else "quick" if given.quick else "whole"]
    parts = given.scene or (QUICK if is_short else ("",))
    wanted = [scene for scene in scenes() if any(part in scene.name for part in parts)]
    report = Report("impact", ["duckdb", "psycopg"])
    outcomes: list[Outcome] = []
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(running_cluster("machine" if not given.tiny else "registry"))
        has_mariadb = any(scene.needs_mariadb for scene in wanted) and mariadb_program("mariadbd") is not None
        mariadb = stack.enter_context(running_mariadb()) if has_mariadb else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = Place(cluster, mariadb, folder, size)
        place.fill()
        for number, scene in enumerate(wanted):
            if scene.needs_mariadb and mariadb is None:
                print(f"{scene.name}: MariaDB is not installed: not measured")
                continue
            engine = EngineProcess(
                folder / f"home{number}"
            )  # of its own: nothing was learned from another configuration
            ended_runs: list[Kept] = []
            engine.start()
            try:
                with engine.client() as client:
                    for outcome in played(client, scene, place, number, folder, ended_runs):
                        outcomes.append(outcome)
                        print(f"{outcome.scene}, phase {outcome.phase}: measured", flush=True)
            finally:
                engine.stop()
            require(ended_runs[-1], place.counts())  # each run replaces what the one before left in the targets
    if given.merge:
        outcomes = merged(outcomes, given.results)
    for outcome in outcomes:
        tell(report, outcome)
    sum_up(report, outcomes)
    report.more["outcomes"] = [asdict(outcome) for outcome in outcomes]
    report.write(given.results)


if __name__ == "__main__":
    main()
