"""Parallel lanes against one lane, on a source whose latency dominates: a real PostgreSQL behind a proxy that delays every request.

Reference: one lane (`lanes_max = 1`) over a few of the same tables, on the same engine with its worker hosts warm; a figure is rows a
second, so that one lane need not copy all fifty tables.
"""

import contextlib
import functools
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402  # the tests' servers are found from the root
from _figures import Report, arguments  # noqa: E402
from _ground_truth import in_postgres, require, told  # noqa: E402

from pymigrate.engine.entrypoints.cli.client import Client  # noqa: E402
from pymigrate.v1 import plan_pb2, run_pb2  # noqa: E402
from tests.e2e.engines import EngineProcess, declare, ended  # noqa: E402
from tests.proxies import proxied  # noqa: E402
from tests.servers import running_cluster  # noqa: E402

DELAY_SECONDS = 0.1
ROWS = 6_000
ROWS_QUICK = 2_400
ALONE = 3
CHUNK_BYTES = 65_536
GOALS = {10: 9.0, 50: 40.0}


def definitions(port: int, target_port: int, lanes: int) -> str:
    """A plan for each number of lanes, of as many phases of one table each."""
    where = {"environment": "bench"}

    def postgres(at: int, database: str) -> dict[str, object]:
        return {"postgres": {"host": "127.0.0.1", "port": at, "database": database, "user": "postgres"}}

    documents: list[dict[str, object]] = [
        {"kind": "Environment", "metadata": {"name": "bench"}},
        {"kind": "Department", "metadata": {"name": "sales", **where}, "spec": {"owner": "Ann"}},
        {"kind": "Connection", "metadata": {"name": "legacy", **where}, "spec": postgres(port, "postgres")},
        {"kind": "Connection", "metadata": {"name": "warehouse", **where}, "spec": postgres(target_port, "warehouse")},
    ]
    phases = {
        f"t{number}": {
            "department": "sales",
            "datasets": {
                "rows": {
                    "source": {"connection": "legacy", "relation": f"t{number}"},
                    "target": {"connection": "warehouse", "relation": f"t{number}", "loadMode": "replace"},
                    "chunkBytes": CHUNK_BYTES,
                    "verification": "count",
                }
            },
        }
        for number in range(lanes)
    }
    documents.append({"kind": "Plan", "metadata": {"name": f"of{lanes}", **where}, "spec": {"phases": phases}})
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in documents)


def copy_seconds(client: Client, warehouse: str, tables: int, lanes_max: int, attempt: int) -> tuple[float, float]:
    """From the first lane's start to the last one's end, and of the whole run, with so many lanes at once."""
    plan = f"environments/bench/plans/of{tables}"
    changed = plan_pb2.UpdatePlanRequest(plan=plan_pb2.Plan(name=plan, lanes_max=lanes_max))
    changed.update_mask.paths.append("lanes_max")
    client.plans.UpdatePlan(changed, metadata=client.metadata, timeout=60)
    asked = run_pb2.StartRunRequest(parent=plan, run=run_pb2.Run(triggers={"attempt": str(attempt)}))
    name = client.runs.StartRun(asked, metadata=client.metadata, timeout=300).name
    run = ended(client, name)
    if run.state != run_pb2.RUN_STATE_SUCCEEDED:
        raise AssertionError(run.failure.message)
    require(told(client, run), {"warehouse": in_postgres(warehouse)})
    found = client.runs.ListLanes(
        run_pb2.ListLanesRequest(parent=name, page_size=1_000), metadata=client.metadata, timeout=60
    ).lanes
    first = min(lane.start_time.ToNanoseconds() for lane in found)
    last = max(lane.end_time.ToNanoseconds() for lane in found)
    begun = min(phase.start_time.ToNanoseconds() for phase in run.phases.values())
    return (last - first) / 1e9, (run.end_time.ToNanoseconds() - begun) / 1e9


@contextlib.contextmanager
def engine(home: Path) -> Iterator[Client]:
    """An engine with its worker hosts."""
    os.environ["PYMIGRATE_LEASE_SECONDS"] = "30"
    process = EngineProcess(home)
    process.start()
    try:
        with process.client() as client:
            yield client
    finally:
        process.stop()


def compare(
    report: Report, client: Client, warehouse: str, text: Callable[[int], str], lanes: int, rows: int, rounds: int
) -> None:
    """Many lanes over as many tables, and one lane over a few, in turns."""
    alone = min(ALONE, lanes)
    with tempfile.TemporaryDirectory() as folder:
        for tables in {lanes, alone}:
            declare(client, text(tables), Path(folder) / "plan.yaml")
    copy_seconds(client, warehouse, lanes, lanes, 0)  # warms the hosts
    several, single, runs, lone_runs = [], [], [], []
    for attempt in range(1, rounds + 1):
        copied, ran = copy_seconds(client, warehouse, lanes, lanes, attempt)
        several.append(lanes * rows / copied)
        runs.append(lanes * rows / ran)
        copied, ran = copy_seconds(client, warehouse, alone, 1, attempt + 1_000)
        single.append(alone * rows / copied)
        lone_runs.append(alone * rows / ran)
    goal = GOALS.get(lanes, 1.0)
    for what, many, one, wanted in (
        (f"{lanes} lanes, copying", several, single, goal),
        (f"{lanes} lanes, whole runs with verification and publication", runs, lone_runs, goal / 2),
    ):
        value, reference = statistics.median(many), statistics.median(one)
        report.add(
            what,
            value,
            "rows/s",
            reference="one lane",
            reference_value=reference,
            goal=f"at least {wanted:g} times as fast",
            met=value >= wanted * reference,
        )


def main() -> None:
    """Measures and keeps the figures."""
    given = arguments(__doc__ or "")
    report = Report("lanes", ["psycopg", "pyarrow"])
    sizes = (2,) if given.tiny else (10,) if given.quick else (10, 50)
    rows, delay = (100, 0.01) if given.tiny else (ROWS_QUICK, DELAY_SECONDS) if given.quick else (ROWS, DELAY_SECONDS)
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(running_cluster("registry"))
        proxy = stack.enter_context(proxied(cluster.port, delay))
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE warehouse")
            for number in range(max(sizes)):
                connection.execute(f"CREATE TABLE t{number} (id bigint PRIMARY KEY, note text)")
                connection.execute(
                    f"INSERT INTO t{number} SELECT n, repeat('x', 200) || n FROM generate_series(1, {rows}) n"
                )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client = stack.enter_context(engine(folder / "home"))
        rounds = 1 if given.quick or given.tiny else 3
        for lanes in sizes:
            plan = functools.partial(definitions, proxy.port, cluster.port)
            compare(report, client, cluster.dsn("warehouse"), plan, lanes, rows, rounds)
    report.write(given.results)


if __name__ == "__main__":
    main()
