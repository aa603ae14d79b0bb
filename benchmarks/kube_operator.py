"""The operator: how soon 1,000 Runs that are created at once have a condition and are accepted by the engine, how soon a change of one
among them is observed, what it costs to do nothing, and how soon it goes on after the API server was killed.

The API server and etcd are real, engine and operator are processes of their own, and all of them share the machine's cores with the
benchmark. Reference: a controller on kopf (`on.event`, one status write) that gives each Run of another namespace its first condition and
asks no engine, in turns with PyMigrate.
"""

import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from _figures import Report, arguments, percentile
from _kube_scene import PAUSE_SECONDS, Kept, Runs, Seen, api_session, cpu_seconds, kept, memory_bytes

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.clusters import Cluster, cluster
from tests.e2e.engines import EngineProcess, running_engine

ROOT = Path(__file__).resolve().parent.parent
OURS, KOPF = "bench", "kopf"
CONDITION_SECONDS_MAX, ACCEPTED_SECONDS_MAX, CHANGED_SECONDS_MAX = 1.0, 5.0, 0.1
FAILING_SHARE, FAILING_FACTOR_MAX = 0.1, 1.2
IDLE_CORE_SHARE_MAX, MEMORY_BYTES_MAX, RECOVERY_SECONDS_MAX = 0.01, 200e6, 2.0
SETTLE_SECONDS = 5.0
LOG_CHARACTERS_MAX = 4_000
PLANS = 10  # that Runs are of, but where each has one of its own
MISSING_PLAN = "there-is-none"
REQUESTS = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    runs: int
    rounds: int
    changes: int
    idle_seconds: float
    restarts: int


SIZES = {"whole": Size(1_000, 1, 60, 30.0, 2), "quick": Size(200, 1, 20, 5.0, 1), "tiny": Size(10, 1, 3, 1.0, 1)}

DECLARED = """apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {{name: bench}}
spec: {{displayName: Benchmark}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: legacy, environment: bench}}
spec: {{sqlite: {{path: {folder}/legacy.db}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: warehouse, environment: bench}}
spec: {{duckdb: {{path: {folder}/warehouse.duckdb}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Department
metadata: {{name: sales, environment: bench}}
spec: {{owner: Head of Sales, users: 40, systems: {{orders: {{connection: legacy, criticality: high}}}}}}
"""
# Runs are accepted and wait for a window that is far away: what is measured is the operator, not a copy.
PLAN = """---
apiVersion: pymigrate.io/v1alpha1
kind: Plan
metadata: {{name: plan-{number}, environment: bench}}
spec:
  schedule: {{blackouts: {{benchmark: {{start: "2020-01-01", end: "2099-01-01"}}}}}}
  phases:
    orders:
      department: sales
      datasets:
        orders:
          source: {{connection: legacy, relation: orders}}
          target: {{connection: warehouse, relation: orders_{number}, loadMode: replace}}
          key: [id]
"""


def specs(size: Size, round_number: int, *, plans: int = PLANS, failing: int = 0) -> Mapping[str, Mapping[str, Any]]:
    """The Runs of a round, of so many plans in turns; the first of them fail for ever, since their plan is not there."""
    named = [MISSING_PLAN if at < failing else f"plan-{at % plans}" for at in range(size.runs)]
    return {f"r{round_number}-{at}": {"plan": name} for at, name in enumerate(named)}


class Bench:
    """Everything that is measured."""

    def __init__(self, made: Cluster, session: aiohttp.ClientSession, operator: Kept) -> None:
        self.cluster, self.session, self.operator = made, session, operator
        self.ours, self.kopf = Runs(session, made.address, OURS), Runs(session, made.address, KOPF)

    async def requests(self) -> dict[tuple[str, str], float]:
        """How many writes the API server has answered, by verb and resource."""
        async with self.session.get(f"{self.cluster.address}/metrics") as answer:
            text = await answer.text()
        found: dict[tuple[str, str], float] = {}
        for labels, value in REQUESTS.findall(text):
            named = dict(LABEL.findall(labels))
            if named["verb"] in WRITES:
                key = named["verb"], named["resource"]
                found[key] = found.get(key, 0.0) + float(value)
        return found


def waited(seen: Mapping[str, Seen], last: float, what: str, percent: float) -> float:
    """After the last creation's reply; what was there before it counts as 0."""
    return percentile([max(0.0, getattr(each, what) - last) for each in seen.values()], percent)


async def measure_creation(bench: Bench, size: Size, report: Report) -> float:
    """Runs at once, in turns with kopf; p95 of acceptance for what comes after."""
    ours: list[float] = []
    kopfs: list[float] = []
    accepted: list[float] = []
    for number in range(size.rounds):
        for side, found in ((bench.kopf, kopfs), (bench.ours, ours)):
            last = await side.create(specs(size, number))
            await side.until(lambda side=side: all(each.condition for each in side.seen.values()))
            found.append(waited(side.seen, last, "condition", 99))
            if side is bench.ours:
                await side.until(lambda: all(each.accepted for each in bench.ours.seen.values()))
                accepted.append(waited(side.seen, last, "accepted", 100))
            if side is bench.kopf or number < size.rounds - 1:
                await side.delete()
    report.add(
        f"{size.runs:,} Runs created at once: the last reply to a condition, p99, the worst of {size.rounds}",
        max(ours), "s", reference="kopf, which does nothing else, p99", reference_value=max(kopfs),
        goal=f"below {CONDITION_SECONDS_MAX:g} s", met=max(ours) < CONDITION_SECONDS_MAX,
    )  # fmt: skip
    report.add(
        "the same: the last reply to the last acceptance by the engine", max(accepted), "s",
        reference="kopf to a condition, p99", reference_value=max(kopfs),
        goal=f"below {ACCEPTED_SECONDS_MAX:g} s", met=max(accepted) < ACCEPTED_SECONDS_MAX,
    )  # fmt: skip
    return max(accepted)


async def measure_plans(bench: Bench, size: Size, report: Report, accepted: float) -> None:
    """Runs at once, each of a plan of its own, at both sides of whose datasets somebody has to look."""
    await bench.ours.delete()
    last = await bench.ours.create(specs(size, 70, plans=size.runs))
    await bench.ours.until(lambda: all(each.accepted for each in bench.ours.seen.values()))
    found = waited(bench.ours.seen, last, "accepted", 100)
    report.add(
        f"{size.runs:,} Runs created at once, each of a plan of its own: the last reply to the last acceptance", found, "s",
        reference=f"Runs of {PLANS} plans", reference_value=accepted,
        goal=f"below {ACCEPTED_SECONDS_MAX:g} s", met=found < ACCEPTED_SECONDS_MAX,
    )  # fmt: skip


async def _changes(runs: Runs, size: Size, first: int) -> list[float]:
    names = [name for name in runs.seen if not name.startswith("failing")]
    found = []
    for number in range(size.changes):
        name = names[(first + number * 7) % len(names)]
        generation, sent = await runs.patch(name, {"lanes": first + number + 1})
        found.append(await runs.observed(name, generation) - sent)
    return found


async def measure_change(bench: Bench, size: Size, report: Report) -> float:
    """One Run among all: from sending the change to its generation in the status."""
    await bench.kopf.create(specs(size, 90))
    await bench.kopf.until(lambda: all(each.condition for each in bench.kopf.seen.values()))
    await asyncio.sleep(SETTLE_SECONDS)
    ours, kopfs = await _changes(bench.ours, size, 1), await _changes(bench.kopf, size, 1)
    await bench.kopf.delete()
    found = percentile(ours, 95)
    report.add(
        f"one Run changed among {size.runs:,}: to its generation in the status, p95", found * 1e3, "ms",
        reference="kopf, p95", reference_value=percentile(kopfs, 95) * 1e3,
        goal=f"below {CHANGED_SECONDS_MAX * 1e3:g} ms", met=found < CHANGED_SECONDS_MAX,
    )  # fmt: skip
    report.add(
        "the same, median", statistics.median(ours) * 1e3, "ms", reference="kopf, median",
        reference_value=statistics.median(kopfs) * 1e3, goal="as above", met=found < CHANGED_SECONDS_MAX,
    )  # fmt: skip
    return found


async def measure_idle(bench: Bench, size: Size, report: Report) -> None:
    """What the operator uses and writes while nothing changes, and what it holds."""
    await asyncio.sleep(SETTLE_SECONDS)
    before, cpu, started = await bench.requests(), cpu_seconds(bench.operator.pid), time.perf_counter()
    await asyncio.sleep(size.idle_seconds)
    share = (cpu_seconds(bench.operator.pid) - cpu) / (time.perf_counter() - started)
    after = await bench.requests()
    written = {key: count - before.get(key, 0.0) for key, count in after.items() if count > before.get(key, 0.0)}
    others = sum(count for (_, resource), count in written.items() if resource != "leases")
    leases = sum(count for (_, resource), count in written.items() if resource == "leases")
    print("written while idle:", written)
    report.add(
        f"writes in {size.idle_seconds:g} s with {size.runs:,} Runs and nothing to do, but for the Lease", others, "writes",
        reference="renewals of the Lease", reference_value=max(leases, 1.0), goal="none", met=others == 0,
    )  # fmt: skip
    report.add(
        "CPU of the operator meanwhile", share * 100, "% of a core", reference="one core", reference_value=100,
        goal=f"below {IDLE_CORE_SHARE_MAX * 100:g} %", met=share < IDLE_CORE_SHARE_MAX,
    )  # fmt: skip
    held = memory_bytes(bench.operator.pid)
    report.add(
        "memory of the operator", held / 1e6, "MB", reference="allowed", reference_value=MEMORY_BYTES_MAX / 1e6,
        goal=f"below {MEMORY_BYTES_MAX / 1e6:g} MB", met=held < MEMORY_BYTES_MAX,
    )  # fmt: skip


async def measure_failing(bench: Bench, size: Size, report: Report, accepted: float, changed: float) -> None:
    """The same with a tenth of the Runs failing for ever."""
    await bench.ours.delete()
    failing = int(size.runs * FAILING_SHARE)
    last = await bench.ours.create(specs(size, 80, failing=failing))
    sound = {name: each for at, (name, each) in enumerate(bench.ours.seen.items()) if at >= failing}
    await bench.ours.until(lambda: all(each.accepted for each in sound.values()))
    found = waited(sound, last, "accepted", 100)
    bench.ours.seen = sound
    await asyncio.sleep(SETTLE_SECONDS)
    again = percentile(await _changes(bench.ours, size, 1), 95)
    for what, value, reference in (("acceptance", found, accepted), ("one change, p95", again, changed)):
        report.add(
            f"{what} with {failing} of {size.runs:,} Runs failing for ever", value, "s",
            reference="without them", reference_value=reference,
            goal=f"at most {FAILING_FACTOR_MAX:g} times", met=value <= reference * FAILING_FACTOR_MAX,
        )  # fmt: skip


def restart(made: Cluster) -> None:
    """Kills etcd and API server, and starts them again over what they had."""
    for each in (made.etcd, made.api_server):
        each.kill()
    for each in (made.etcd, made.api_server):
        each.start()
    made.wait()


async def first_taken(bench: Bench, name: str, lanes: int) -> tuple[int, float]:
    """The generation that the first change makes which the server takes again, and when it was sent."""
    while True:
        try:
            return await bench.ours.patch(name, {"lanes": lanes})
        except aiohttp.ClientError:  # it answers, and starts still
            await asyncio.sleep(PAUSE_SECONDS)


async def measure_recovery(bench: Bench, size: Size, report: Report) -> None:
    """etcd and API server killed at once and started again: from the first answer to a change that is observed."""
    name = next(iter(bench.ours.seen))
    ours, restarts = [], []
    for number in range(size.restarts):
        killed = time.perf_counter()
        await asyncio.to_thread(restart, bench.cluster)
        generation, back = await first_taken(bench, name, 500 + number)
        restarts.append(back - killed)
        ours.append(await bench.ours.observed(name, generation) - back)
    report.add(
        f"etcd and API server killed: their return to a change that is observed, the worst of {size.restarts}"
        f" (the operator was started {bench.operator.starts} times)", max(ours), "s",
        reference="their own restart", reference_value=statistics.median(restarts),
        goal=f"below {RECOVERY_SECONDS_MAX:g} s", met=max(ours) < RECOVERY_SECONDS_MAX,
    )  # fmt: skip


async def measure(made: Cluster, engine: EngineProcess, folder: Path, size: Size, report: Report) -> None:
    """Everything, in turns where there is a reference."""
    kubeconfig = made.kubeconfig("admin", made.token)
    settings = {
        "PYMIGRATE_HOME": str(engine.home),
        "PYMIGRATE_OPERATOR_KUBECONFIG": str(kubeconfig),
        "PYMIGRATE_OPERATOR_NAMESPACE": OURS,
    }
    with ExitStack() as running:
        operator = running.enter_context(
            kept(["-m", "pymigrate.engine.main.cli", "operator"], settings, folder / "operator.log")
        )
        peer = running.enter_context(
            kept(
                [str(ROOT / "benchmarks" / "_kopf_peer.py"), KOPF], {"KUBECONFIG": str(kubeconfig)}, folder / "kopf.log"
            )
        )
        async with api_session(made) as session:
            bench = Bench(made, session, operator)
            watching = [asyncio.create_task(runs.watch()) for runs in (bench.ours, bench.kopf)]
            watching += [asyncio.create_task(each.keep()) for each in (operator, peer)]
            await warm(bench)
            accepted = await measure_creation(bench, size, report)
            await measure_plans(bench, size, report, accepted)
            changed = await measure_change(bench, size, report)
            await measure_idle(bench, size, report)
            await measure_failing(bench, size, report, accepted, changed)
            await measure_recovery(bench, size, report)
            for each in watching:
                each.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


async def warm(bench: Bench) -> None:
    """One Run on each side: both serve."""
    await asyncio.sleep(PAUSE_SECONDS)
    for runs in (bench.ours, bench.kopf):
        await runs.create({"warm": {"plan": "plan-0"}})
        await runs.until(lambda runs=runs: runs.seen["warm"].condition)
        await runs.delete()


def declare(engine: EngineProcess, folder: Path, size: Size) -> None:
    """Everything that the Runs need, and a table to move."""
    import sqlite3

    from tests.e2e.engines import declare as applied

    with sqlite3.connect(folder / "legacy.db") as legacy:
        legacy.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT)")
        legacy.executemany("INSERT INTO orders VALUES (?, ?)", [(at, f"order {at}") for at in range(1, 101)])
    legacy.close()
    text = DECLARED.format(folder=folder) + "".join(PLAN.format(number=number) for number in range(size.runs))
    with engine.client() as client:
        applied(client, text, folder / "declared.yaml")


def main() -> None:
    """Measures everything and keeps it."""
    given = arguments(__doc__ or "")
    size = SIZES["tiny" if given.tiny else "quick" if given.quick else "whole"]
    report = Report("kube_operator", ("aiohttp", "grpcio", "kopf"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "cluster").mkdir()
        with cluster(folder / "cluster") as made, running_engine(folder / "home", is_warm=False) as engine:
            for namespace in (OURS, KOPF):
                made.kubectl("create", "namespace", namespace)
            made.kubectl("apply", "--server-side", "-k", str(ROOT / "examples" / "kubernetes" / "crds"))
            made.kubectl("wait", "--for=condition=Established", "crd/runs.pymigrate.io")
            declare(engine, folder, size)
            try:
                asyncio.run(measure(made, engine, folder, size, report))
            except BaseException:
                for log in (folder / "operator.log", folder / "kopf.log", engine.home / "engine.log"):
                    sys.stderr.write(f"{log.name}:\n{log.read_text()[-LOG_CHARACTERS_MAX:]}\n")
                raise
    report.write(given.results)


if __name__ == "__main__":
    os.environ.setdefault("PYMIGRATE_LOG_LEVEL", "warning")
    main()
