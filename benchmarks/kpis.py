"""Watching: from a lane's report to its receipt by a hundred watchers, half over gRPC and half as server-sent events, and with stuck ones.

A real engine in a process of its own; fifty lanes of a scripted worker host that report ten times a second each over gRPC; watchers in two
processes. What is measured begins before the report is sent: it includes the report's call, its durable commit and the wait for the next of
ten pictures a second. Reference: a bare grpc.aio server in the same run that sends as many bytes to as many watchers, with the same wait.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _fifty_reporters import REPORTS_PER_SECOND  # noqa: E402  # the tests' engine is found from the root
from _figures import Report, arguments, percentile  # noqa: E402

from pymigrate.v1 import run_pb2  # noqa: E402
from tests.e2e.engines import EngineProcess, declare  # noqa: E402

LANES = 50
WATCHERS = 100
GOAL_SECONDS = 0.25
STUCK_SHARE_MAX = 0.1
SAMPLE_SECONDS = 0.05
SETTLING_SECONDS = 0.5
ARRIVING_SECONDS = 0.5
PLAN = "environments/bench/plans/p"
HERE = Path(__file__).parent


def definitions() -> str:
    """A plan of fifty datasets."""
    where = {"environment": "bench"}
    datasets = {
        f"d{number}": {
            "source": {"connection": "legacy", "relation": f"t{number}"},
            "target": {"connection": "warehouse", "relation": f"t{number}"},
        }
        for number in range(LANES)
    }
    documents: list[dict[str, object]] = [
        {"kind": "Environment", "metadata": {"name": "bench"}},
        {"kind": "Department", "metadata": {"name": "sales", **where}, "spec": {"owner": "Ann"}},
        {"kind": "Connection", "metadata": {"name": "legacy", **where}, "spec": {"sqlite": {"path": "/legacy.db"}}},
        {
            "kind": "Connection",
            "metadata": {"name": "warehouse", **where},
            "spec": {"duckdb": {"path": "/warehouse.duckdb"}},
        },
        {
            "kind": "Plan",
            "metadata": {"name": "p", **where},
            "spec": {"phases": {"a": {"department": "sales", "datasets": datasets}}},
        },
    ]
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in documents)


class Helper:
    """A process beside, which answers each line with one."""

    def __init__(self, script: str, *given: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), *map(str, given)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def heard(self) -> str:
        """The next line that it says."""
        if self._process.stdout is None:
            raise AssertionError("it is a pipe")
        line = self._process.stdout.readline().strip()
        if not line:
            raise AssertionError(f"{self._process.args!r} ended with {self._process.wait()}")
        return line

    def tell(self, line: str = "") -> str:
        """Says a line, and returns the answer."""
        if self._process.stdin is None:
            raise AssertionError("it is a pipe")
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self.heard()

    def end(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()


@dataclass(slots=True)
class Scene:
    """A run with fifty lanes under way, and where it is watched."""

    engine: EngineProcess
    token: str
    grpc: str
    rest: str
    run: str
    host: Helper
    folder: Path
    picture_bytes: int = 0
    rates: list[float] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The engine's process."""
        if self.engine.process is None:
            raise AssertionError("it serves")
        return int(self.engine.process.pid)


@contextlib.contextmanager
def under_way(folder: Path) -> Iterator[Scene]:
    """An engine whose fifty lanes are held by the scripted host."""
    os.environ["PYMIGRATE_REST_LISTEN"] = "127.0.0.1:0"
    # One process holds fifty lanes, many more than a host ever does: a busy machine is not to end their leases.
    os.environ["PYMIGRATE_LEASE_SECONDS"] = "60"
    engine = EngineProcess(folder / "home")
    engine.start()
    helpers: list[Helper] = []
    try:
        token, grpc = ((engine.home / name).read_text().strip() for name in ("token", "endpoint"))
        host = Helper("_fifty_reporters.py", grpc, token, LANES)
        helpers.append(host)
        host.heard()
        with engine.client() as client:
            declare(client, definitions(), folder / "plan.yaml")
            asked = run_pb2.StartRunRequest(parent=PLAN)
            run = client.runs.StartRun(asked, metadata=client.metadata, timeout=60).name
            host.heard()
        yield Scene(engine, token, grpc, (engine.home / "rest-endpoint").read_text().strip(), run, host, folder)
    finally:
        for helper in helpers:
            helper.end()
        engine.stop()


def picture_bytes(scene: Scene) -> int:
    """What a picture takes on the wire over gRPC."""
    with scene.engine.client() as client:
        call = client.runs.WatchRun(run_pb2.WatchRunRequest(name=scene.run), metadata=client.metadata, timeout=60)
        return int(next(call).ByteSize())


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds to each receipt of each change, by surface; the most that the engine held; what stuck consumers had been sent."""

    seconds: dict[str, list[float]]
    held_bytes: int
    backlog: dict[str, int]

    @property
    def p99(self) -> float:
        """Over both surfaces."""
        return percentile([one for found in self.seconds.values() for one in found], 99)


def watched(scene: Scene, seconds: float, watchers: int, *, is_stuck: bool = False) -> Measured:
    """Everything that was received in so many seconds."""
    half = watchers // 2
    files = {kind: scene.folder / f"{kind}.json" for kind in ("grpc", "sse", "stuck", "sent")}
    given = (scene.token, scene.run)
    scene.host.tell("go")
    helpers = [
        Helper("_watchers.py", "grpc", scene.grpc, *given, half, files["grpc"]),
        Helper("_watchers.py", "sse", scene.rest, *given, half, files["sse"]),
    ]
    if is_stuck:
        helpers.append(Helper("_watchers.py", "stuck", f"{scene.grpc},{scene.rest}", *given, 1, files["stuck"]))
    try:
        for helper in helpers:
            helper.heard()
        begun = time.monotonic()
        held = most_held(scene.pid, SETTLING_SECONDS + seconds)
        counted = Span(begun + SETTLING_SECONDS, time.monotonic() - ARRIVING_SECONDS)
        for helper in reversed(helpers):  # the stuck ones first, while lanes report
            helper.tell()
        scene.host.tell("pause")
        scene.host.tell(str(files["sent"]))
    finally:
        for helper in helpers:
            helper.end()
    sent = json.loads(files["sent"].read_text())
    found = {kind: receipts(json.loads(files[kind].read_text()), sent, counted) for kind in ("grpc", "sse")}
    reported = sum(counted.holds(moment) for moments in sent.values() for moment in moments)
    scene.rates.append(reported / (counted.end - counted.begin))
    return Measured(found, held, json.loads(files["stuck"].read_text()) if is_stuck else {})


@dataclass(frozen=True, slots=True)
class Span:
    """What counts: not while processes start, nor what may not have arrived yet when they end."""

    begin: float
    end: float

    def holds(self, moment: float) -> bool:
        """Whether it lies within."""
        return self.begin <= moment <= self.end


def receipts(
    taken: Sequence[Sequence[tuple[float, dict[str, int]]]], sent: dict[str, list[float]], counted: Span
) -> list[float]:
    """For each change that counts and each watcher, how long after it was sent a picture that shows it had arrived."""
    found: list[float] = []
    for pictures in taken:
        seen = dict(pictures[0][1])
        for arrived, chunks in pictures[1:]:
            for dataset, shown in chunks.items():
                new = sent[dataset][seen[dataset] : shown]
                found.extend(arrived - moment for moment in new if counted.holds(moment))
            seen = chunks
    return found


def fanned_out(scene: Scene, seconds: float, watchers: int) -> list[float]:
    """The same for the reference: changes at any time between two pictures, each received with the second of them."""
    files = [scene.folder / f"bare{number}.json" for number in range(2)]
    moments_file = scene.folder / "moments.json"
    server = Helper("_fanout.py", scene.picture_bytes, moments_file)
    helpers = []
    try:
        address = f"127.0.0.1:{server.heard()}"
        helpers = [Helper("_watchers.py", "bare", address, "-", "-", watchers // 2, file) for file in files]
        for helper in helpers:
            helper.heard()
        threading.Event().wait(seconds)
        for helper in helpers:
            helper.tell()
        server.tell()
    finally:
        for helper in (*helpers, server):
            helper.end()
    moments = json.loads(moments_file.read_text())
    found: list[float] = []
    for pictures in (one for file in files for one in json.loads(file.read_text())):
        for arrived, number in pictures[1:]:
            begun = moments[number - 1]
            step = (moments[number] - begun) / LANES
            found.extend(arrived - begun - step * (at + 0.5) for at in range(LANES))
    return found


def most_held(pid: int, seconds: float) -> int:
    """The most that a process held at a moment of so many seconds."""
    pause, page = threading.Event(), os.sysconf("SC_PAGE_SIZE")
    most = 0
    for _ in range(max(1, int(seconds / SAMPLE_SECONDS))):
        most = max(most, int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page)
        pause.wait(SAMPLE_SECONDS)
    return most


def main() -> None:
    """Measures and keeps the figures."""
    given = arguments(__doc__ or "")
    report = Report("kpis", ["grpcio", "uvicorn", "protobuf"])
    seconds, rounds = (1.0, 1) if given.tiny else (3.0, 2) if given.quick else (8.0, 5)
    watchers = 10 if given.tiny else WATCHERS
    plain: list[Measured] = []
    beside: list[Measured] = []
    reference: list[float] = []
    with tempfile.TemporaryDirectory() as folder, under_way(Path(folder)) as scene:
        watched(scene, min(seconds, 2.0), watchers)  # warms everything
        scene.picture_bytes = picture_bytes(scene)
        for _ in range(rounds):
            reference.append(percentile(fanned_out(scene, seconds, watchers), 99))
            plain.append(watched(scene, seconds, watchers))
            beside.append(watched(scene, seconds, watchers, is_stuck=True))
        tell(report, scene, watchers, plain, beside, statistics.median(reference))
    report.write(given.results)


def tell(
    report: Report, scene: Scene, watchers: int, plain: list[Measured], beside: list[Measured], bare: float
) -> None:
    """The figures, each the median of the rounds."""
    wanted = LANES * REPORTS_PER_SECOND
    rate = statistics.median(scene.rates)
    report.add(
        f"changes of {LANES} lanes, each reported by a call of its own",
        rate,
        "changes/s",
        reference="asked for",
        reference_value=wanted,
        goal=f"{wanted} a second sustained",
        met=rate >= 0.98 * wanted,
    )
    name = "a bare grpc.aio fan-out of as many bytes at ten pictures a second, p99"
    p99 = statistics.median(found.p99 for found in plain)
    goal = f"below {GOAL_SECONDS * 1e3:g} ms"
    both = (
        f"from a report's sending to its receipt by {watchers} watchers, {scene.picture_bytes:,} bytes a picture, p99"
    )
    report.add(both, p99 * 1e3, "ms", reference=name, reference_value=bare * 1e3, goal=goal, met=p99 < GOAL_SECONDS)
    for kind, surface in (("grpc", "over gRPC"), ("sse", "as server-sent events")):
        for percent in (50, 99):
            value = statistics.median(percentile(found.seconds[kind], percent) for found in plain)
            report.add(
                f"the same {surface}, p{percent}",
                value * 1e3,
                "ms",
                reference=name,
                reference_value=bare * 1e3,
                goal=goal,
                met=value < GOAL_SECONDS,
            )
    stuck = statistics.median(found.p99 for found in beside)
    most = 1 + STUCK_SHARE_MAX
    report.add(
        "the same beside a stuck consumer on each surface, p99",
        stuck * 1e3,
        "ms",
        reference="without them",
        reference_value=p99 * 1e3,
        goal=f"at most {STUCK_SHARE_MAX:.0%} more",
        met=stuck <= most * p99,
    )
    held, held_beside = (statistics.median(found.held_bytes for found in side) / 1e6 for side in (plain, beside))
    report.add(
        "the engine's resident memory beside a stuck consumer on each surface",
        held_beside,
        "MB",
        reference="without them",
        reference_value=held,
        goal=f"at most {STUCK_SHARE_MAX:.0%} more",
        met=held_beside <= most * held,
    )
    print("sent to stuck consumers meanwhile:", [found.backlog for found in beside])


if __name__ == "__main__":
    main()
