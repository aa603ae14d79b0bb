"""The dashboard of a real engine while fifty migrations are under way: how long GET /v1/dashboard takes over HTTP, and how old what it
shows is.

Fifty plans of a thousand have a run whose lane is held by a scripted worker host, which reports ten times a second over gRPC; meanwhile
some ask again and again and others follow the stream. Reference: the same picture made over a store in memory, with nothing around it.
"""

import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402  # the tests' engine is found from the root
import orjson  # noqa: E402
from _dashboard_fold import ACTIVE, Folded, folded  # noqa: E402
from _figures import Report, arguments, percentile  # noqa: E402
from kpis import ARRIVING_SECONDS, SETTLING_SECONDS, Helper, Span, receipts  # noqa: E402

from pymigrate.engine.entrypoints.cli.client import Client  # noqa: E402
from pymigrate.v1 import plan_pb2, run_pb2  # noqa: E402
from tests.e2e.engines import EngineProcess, declare  # noqa: E402

GOAL_SECONDS = 1.0
ASKERS, FOLLOWERS = 4, 4
PAUSE_SECONDS = 0.5
TIMEOUT_SECONDS = 60
ENVIRONMENT = "environments/bench"
ROWS_EACH_CHUNK = 1_000  # as the scripted host reports
Picture = tuple[float, dict[str, int]]


def definitions() -> str:
    """What fifty migrations move: one dataset each, since the scripted host knows its lanes by their datasets."""
    where = {"environment": "bench"}
    documents: list[dict[str, object]] = [
        {"kind": "Environment", "metadata": {"name": "bench"}},
        {"kind": "Department", "metadata": {"name": "sales", **where}, "spec": {"owner": "Ann"}},
        {"kind": "Connection", "metadata": {"name": "legacy", **where}, "spec": {"sqlite": {"path": "/legacy.db"}}},
        {
            "kind": "Connection",
            "metadata": {"name": "warehouse", **where},
            "spec": {"duckdb": {"path": "/warehouse.duckdb"}},
        },
    ]
    for number in range(ACTIVE):
        relation = f"t{number}"
        dataset = {
            "source": {"connection": "legacy", "relation": relation},
            "target": {"connection": "warehouse", "relation": relation},
        }
        phase = {"department": "sales", "datasets": {plan_id(number): dataset}}
        documents.append(
            {"kind": "Plan", "metadata": {"name": plan_id(number), **where}, "spec": {"phases": {"a": phase}}}
        )
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in documents)


def plan_id(number: int) -> str:
    """The plan of a number, and the dataset that is its only one."""
    return f"p{number:04d}"


def declare_more(client: Client, plans: int) -> None:
    """The other plans, of which there is no run yet."""
    for number in range(ACTIVE, plans):
        plan = plan_pb2.Plan(display_name=f"Plan {number}")
        request = plan_pb2.CreatePlanRequest(parent=ENVIRONMENT, plan_id=plan_id(number), plan=plan)
        client.plans.CreatePlan(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)


@dataclass(slots=True)
class Scene:
    """An engine with fifty migrations under way."""

    engine: EngineProcess
    host: Helper
    sent_file: Path
    plans: int

    def http(self) -> httpx.AsyncClient:
        """A client of its REST."""
        token, rest = ((self.engine.home / name).read_text().strip() for name in ("token", "rest-endpoint"))
        headers = {"authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=f"http://{rest}", headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False)


@contextlib.contextmanager
def under_way(folder: Path, plans: int) -> Iterator[Scene]:
    """An engine whose fifty lanes are held by the scripted host, each of a run of its own."""
    os.environ["PYMIGRATE_REST_LISTEN"] = "127.0.0.1:0"
    # One process holds fifty lanes, many more than a host ever does: a busy machine is not to end their leases.
    os.environ["PYMIGRATE_LEASE_SECONDS"] = "60"
    engine = EngineProcess(folder / "home")
    engine.start()
    helpers: list[Helper] = []
    try:
        token, grpc = ((engine.home / name).read_text().strip() for name in ("token", "endpoint"))
        host = Helper("_fifty_reporters.py", grpc, token, ACTIVE)
        helpers.append(host)
        host.heard()
        with engine.client() as client:
            declare(client, definitions(), folder / "plans.yaml")
            declare_more(client, plans)
            for number in range(ACTIVE):
                asked = run_pb2.StartRunRequest(parent=f"{ENVIRONMENT}/plans/{plan_id(number)}")
                client.runs.StartRun(asked, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        host.heard()
        yield Scene(engine, host, folder / "sent.json", plans)
    finally:
        for helper in helpers:
            helper.end()
        engine.stop()


@dataclass(slots=True)
class Measured:
    """Seconds of each answer, and from each report to its receipt by each who asks and each who follows."""

    answers: list[float] = field(default_factory=list)
    asked: list[list[Picture]] = field(default_factory=list)
    followed: list[list[Picture]] = field(default_factory=list)
    answer_bytes: int = 0

    async def ask(self, client: httpx.AsyncClient, plans: int) -> None:
        """GET /v1/dashboard again and again, with a pause between."""
        taken: list[Picture] = []
        self.asked.append(taken)
        while True:
            begun = time.monotonic()
            answer = await client.get("/v1/dashboard")
            arrived = time.monotonic()
            answer.raise_for_status()
            found = orjson.loads(answer.content)
            if len(found["plans"]) != plans:
                raise AssertionError(f"{len(found['plans'])} plans are shown of {plans}")
            self.answers.append(arrived - begun)
            self.answer_bytes = len(answer.content)
            taken.append((arrived, chunks(found)))
            await asyncio.sleep(PAUSE_SECONDS)

    async def follow(self, client: httpx.AsyncClient) -> None:
        """The stream: the whole, and then what changed."""
        taken: list[Picture] = []
        self.followed.append(taken)
        shown: dict[str, int] = {}
        async with client.stream("GET", "/v1/dashboard:watch") as response:
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    arrived = time.monotonic()
                    shown = shown | chunks(orjson.loads(line[len("data: ") :])["dashboard"])
                    taken.append((arrived, shown))


def chunks(picture: dict[str, object]) -> dict[str, int]:
    """How many chunks of each migration a picture shows, by its dataset."""
    found: dict[str, int] = {}
    for plan in picture.get("plans", ()):  # type: ignore[attr-defined]  # the contract's JSON
        name = plan["plan"].rpartition("/")[2]
        if int(name[1:]) < ACTIVE:
            found[name] = plan["kpis"].get("rows", 0) // ROWS_EACH_CHUNK
    return found


async def measured(scene: Scene, seconds: float) -> Measured:
    """Everything that was received in so many seconds."""
    found = Measured()
    scene.host.tell("go")
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(scene.http()) for _ in range(ASKERS + FOLLOWERS)]
        working = [
            asyncio.create_task(found.ask(client, scene.plans) if at < ASKERS else found.follow(client))
            for at, client in enumerate(clients)
        ]
        while not (found.followed and found.asked and all((*found.asked, *found.followed))):
            await asyncio.sleep(PAUSE_SECONDS)
            require_alive(working)
        await asyncio.sleep(SETTLING_SECONDS + seconds + GOAL_SECONDS)
        require_alive(working)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
    scene.host.tell("pause")
    scene.host.tell(str(scene.sent_file))
    return found


def require_alive(working: Sequence[asyncio.Task[None]]) -> None:
    """Raises what one of them raised."""
    for task in working:
        if task.done():
            task.result()


def main() -> None:
    """Measures and keeps the figures."""
    given = arguments(__doc__ or "")
    plans, rounds, seconds = (60, 3, 1.0) if given.tiny else (1_000, 8, 8.0) if given.quick else (1_000, 20, 30.0)
    report = Report("dashboard", ["protobuf", "starlette", "uvicorn", "orjson"])
    alone = asyncio.run(folded(plans, rounds))
    with tempfile.TemporaryDirectory() as folder, under_way(Path(folder), plans) as scene:
        begun = time.monotonic()
        found = asyncio.run(measured(scene, seconds))
        sent = json.loads(scene.sent_file.read_text())
    last = min(pictures[-1][0] for pictures in (*found.asked, *found.followed))
    counted = Span(begun + SETTLING_SECONDS, last - GOAL_SECONDS - ARRIVING_SECONDS)
    tell(
        report,
        plans,
        alone,
        found,
        {
            kind: receipts(taken, sent, counted)
            for kind, taken in (("asked", found.asked), ("followed", found.followed))
        },
    )
    report.write(given.results)


def tell(report: Report, plans: int, alone: Folded, found: Measured, seen: dict[str, list[float]]) -> None:
    """The figures: of a real engine, and of the fold alone."""
    name = f"{plans:,} plans, {ACTIVE} migrations under way"
    in_memory = statistics.median(alone.again)
    answers = f"GET /v1/dashboard of a real engine, {name}, {found.answer_bytes:,} bytes, {ASKERS} ask at once"
    figures = [(f"{answers}, p{percent}", percentile(found.answers, percent), in_memory) for percent in (50, 99)]
    figures.append((f"{answers}, the slowest of {len(found.answers)}", max(found.answers), in_memory))
    every = {
        "asked": f"from a report to its receipt by who asks every {PAUSE_SECONDS:g} s, {name}",
        "followed": f"from a report to its receipt by who follows the stream, {name}",
    }
    figures += [
        (f"{about}, p{percent}", percentile(seen[kind], percent), in_memory)
        for kind, about in every.items()
        for percent in (50, 99)
    ]
    for figure, value, reference in figures:
        add(report, figure, value, "the picture over a store in memory alone, median", reference)
    scratch = "every plan's and phase's KPIs from the beginning, as messages alone"
    add(report, f"first picture over a store in memory, {name}", alone.first, scratch, alone.from_scratch)
    add(report, f"picture after changes over a store in memory, {name}", in_memory, scratch, alone.from_scratch)
    slowest = f"the slowest of {len(alone.again)} pictures over a store in memory, {name}"
    add(report, slowest, max(alone.again), scratch, alone.from_scratch)


def add(report: Report, figure: str, value: float, reference: str, reference_value: float) -> None:
    """A figure in seconds and its goal."""
    report.add(
        figure,
        value,
        "s",
        reference=reference,
        reference_value=reference_value,
        goal=f"below {GOAL_SECONDS:g} s",
        met=value < GOAL_SECONDS,
    )


if __name__ == "__main__":
    main()
