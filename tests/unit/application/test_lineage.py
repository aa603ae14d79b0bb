"""Runs as OpenLineage's run events: what begins and ends, under whom, with which datasets, and the same however often it is told."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import pytest

from pymigrate.engine.application.lineage import Lineage
from pymigrate.engine.application.lineage_names import dataset_name, source_uri
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.hosts import Outcome, done
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2, worker_pb2
from tests.unit.application.engines import ME, PLAN, Engine, PlayedHost, phase
from tests.unit.application.openlineage import breaches

Event = dict[str, Any]
REFUSED = run_pb2.Failure(reason="DATA_REFUSED", message="a row is refused")


def with_columns(task: worker_pb2.Task) -> Outcome:
    """All goes well, and every relation has two columns."""
    result = done(task)
    assert isinstance(result, worker_pb2.TaskResult)
    if result.HasField("inspect"):
        for name, kind in (("id", "int64"), ("name", "text")):
            result.inspect.source.columns.add(name=name, type=kind)
    return result


class Scene:
    """An engine with a plan, and its one host."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.host = PlayedHost(self.engine)
        self.host.script = with_columns

    async def declare(self, phases: dict[str, plan_pb2.Phase]) -> None:
        await self.engine.declare(phases)
        await self.host.register()

    async def start(self) -> str:
        started = await self.looked_at(self.engine.runs.start(run_pb2.StartRunRequest(parent=PLAN), ME))
        return started.name

    async def looked_at(self, call: Coroutine[Any, Any, run_pb2.Run]) -> run_pb2.Run:
        calling = asyncio.create_task(call)
        while not calling.done():
            await asyncio.sleep(0)
            if self.engine.inquiries.demand():
                await self.host.work(1)
        return calling.result()

    async def events(self, lineage: Lineage | None = None, *, one_by_one: bool = False) -> list[Event]:
        """Everything that the stream gives, all at once or entry by entry."""
        known = lineage or Lineage("acme")
        entries, _ = await self.engine.store.read(lambda unit: unit.feed.after("", 10_000))
        batches: list[list[FeedEntry]] = [[each] for each in entries] if one_by_one else [list(entries)]

        def tell(unit: Unit) -> list[Event]:
            made = [entry for batch in batches for entry in known.messages(unit, batch)]
            return [json.loads(message.body) for entry in made for message in entry]

        return await self.engine.store.read(tell)


def told(events: list[Event]) -> list[tuple[str, str]]:
    """Kind and job of each."""
    return [(event["eventType"], event["job"]["name"]) for event in events]


def of(events: list[Event], kind: str, job: str) -> Event:
    """The one of that kind and job."""
    found = [event for event in events if (event["eventType"], event["job"]["name"]) == (kind, job)]
    assert len(found) == 1, told(events)
    return found[0]


async def test_a_run_its_phases_and_their_datasets_begin_and_end_under_each_other() -> None:
    scene = Scene()
    await scene.declare({"sales": phase("orders", "items")})
    await scene.start()
    await scene.host.work()
    events = await scene.events()
    assert told(events) == [
        ("START", "e.p"),
        ("START", "e.p.sales"),
        ("START", "e.p.sales.items"),
        ("START", "e.p.sales.orders"),
        ("COMPLETE", "e.p.sales"),
        ("COMPLETE", "e.p.sales.items"),
        ("COMPLETE", "e.p.sales.orders"),
        ("COMPLETE", "e.p"),
    ]
    assert [breaches(event) for event in events] == [[]] * len(events)
    assert {event["job"]["namespace"] for event in events} == {"acme"}
    run, sales, orders = (of(events, "COMPLETE", job)["run"] for job in ("e.p", "e.p.sales", "e.p.sales.orders"))
    assert orders["facets"]["parent"]["run"]["runId"] == sales["runId"]
    assert sales["facets"]["parent"]["run"]["runId"] == run["runId"]
    assert "parent" not in run["facets"]
    assert of(events, "START", "e.p.sales.orders")["run"]["runId"] == orders["runId"]


async def test_a_dataset_tells_what_was_read_and_written_with_its_schema_and_rows() -> None:
    scene = Scene()
    await scene.declare({"sales": phase("orders")})
    await scene.start()
    await scene.host.work()
    event = of(await scene.events(), "COMPLETE", "e.p.sales.orders")
    source, target = event["inputs"][0], event["outputs"][0]
    assert (source["namespace"], source["name"]) == ("sqlite:///legacy.db", "orders")
    assert (target["namespace"], target["name"]) == ("duckdb:///warehouse.duckdb", "orders")
    columns = [{"name": "id", "type": "int64"}, {"name": "name", "type": "text"}]
    assert source["facets"]["schema"]["fields"] == target["facets"]["schema"]["fields"] == columns
    statistics = target["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"]) == (10, 100)
    start = of(await scene.events(), "START", "e.p.sales.orders")
    assert "outputFacets" not in start["outputs"][0]


async def test_what_a_transform_makes_is_not_told_as_the_source_s_schema() -> None:
    scene = Scene()
    changed = phase("orders")
    changed.datasets["orders"].transforms.add().rename.columns["id"] = "number"
    await scene.declare({"sales": changed})
    await scene.start()
    await scene.host.work()
    event = of(await scene.events(), "COMPLETE", "e.p.sales.orders")
    assert "schema" not in event["inputs"][0]["facets"]
    assert "schema" in event["outputs"][0]["facets"]


async def test_a_dataset_that_fails_says_why_and_the_others_of_its_phase_are_aborted() -> None:
    scene = Scene()
    await scene.declare({"sales": phase("orders", "items")})
    scene.host.script = lambda task: (
        REFUSED if task.HasField("copy") and task.copy.dataset.dataset_id == "orders" else with_columns(task)
    )
    await scene.start()
    await scene.host.work()
    events = await scene.events()
    assert told(events)[4:] == [
        ("FAIL", "e.p.sales"),
        ("ABORT", "e.p.sales.items"),
        ("FAIL", "e.p.sales.orders"),
        ("FAIL", "e.p"),
    ]
    error = of(events, "FAIL", "e.p.sales.orders")["run"]["facets"]["errorMessage"]["message"]
    assert error == "DATA_REFUSED: a row is refused"
    assert "errorMessage" not in of(events, "ABORT", "e.p.sales.items")["run"]["facets"]
    assert [breaches(event) for event in events] == [[]] * len(events)
    assert not any("outputFacets" in output for event in events for output in event["outputs"])


async def test_a_cancelled_run_is_aborted_with_its_phases() -> None:
    scene = Scene()
    await scene.declare({"sales": phase("orders")})
    name = await scene.start()
    await scene.engine.runs.steer(name, DesiredState.CANCELLED, ME)
    await scene.host.work()
    events = await scene.events()
    assert {kind for kind, _ in told(events)} == {"START", "ABORT"}
    assert ("ABORT", "e.p") in told(events)
    assert ("ABORT", "e.p.sales.orders") in told(events)


async def test_a_retry_is_another_run_of_the_same_jobs() -> None:
    scene = Scene()
    await scene.declare({"sales": phase("orders")})
    scene.host.script = lambda task: REFUSED if task.HasField("copy") else with_columns(task)
    name = await scene.start()
    await scene.host.work()
    scene.host.script = with_columns
    await scene.looked_at(scene.engine.runs.retry(name, ME))
    await scene.host.work()
    events = await scene.events()
    starts = [event["run"]["runId"] for event in events if told([event]) == [("START", "e.p.sales.orders")]]
    assert len(set(starts)) == 2
    assert of(events, "FAIL", "e.p.sales.orders")["run"]["runId"] == starts[0]
    assert of(events, "COMPLETE", "e.p.sales.orders")["run"]["runId"] == starts[1]
    parent = of(events, "COMPLETE", "e.p.sales")["run"]["facets"]["parent"]["run"]["runId"]
    assert of(events, "COMPLETE", "e.p")["run"]["runId"] == parent


async def test_undoing_what_was_published_is_a_run_of_a_job_of_its_own() -> None:
    scene = Scene()
    await scene.declare({"sales": phase("orders")})
    name = await scene.start()
    await scene.host.work()
    await scene.engine.runs.roll_back(name, "", ME)
    await scene.host.work()
    events = await scene.events()
    undone = [event for event in events if event["job"]["name"].endswith(".rollback")]
    assert sorted(told(undone)) == [
        ("COMPLETE", "e.p.rollback"),
        ("COMPLETE", "e.p.sales.rollback"),
        ("START", "e.p.rollback"),
        ("START", "e.p.sales.rollback"),
    ]
    assert [breaches(event) for event in undone] == [[]] * 4
    assert all(event["inputs"] == [] for event in undone)
    assert undone[0]["outputs"][0]["name"] == "orders"


async def test_what_is_told_twice_or_by_another_engine_is_the_same() -> None:
    scene = Scene()
    await scene.declare({"sales": phase("orders"), "finance": phase("bills", needs=["sales"])})
    await scene.start()
    await scene.host.work()
    at_once, one_by_one = await scene.events(), await scene.events(one_by_one=True)
    assert at_once == one_by_one
    entries, _ = await scene.engine.store.read(lambda unit: unit.feed.after("", 10_000))
    late = entries[-3:]
    told_late = await scene.engine.store.read(lambda unit: Lineage("acme").messages(unit, late))
    assert [json.loads(m.body) for each in told_late for m in each] == at_once[-sum(map(len, told_late)) :]


async def test_each_run_that_began_ends_once() -> None:
    scene = Scene()
    await scene.declare({"sales": phase("orders"), "finance": phase("bills", needs=["sales"])})
    scene.host.script = lambda task: REFUSED if task.HasField("verify") else with_columns(task)
    await scene.start()
    await scene.host.work()
    events = await scene.events()
    by_run: dict[str, list[str]] = {}
    for event in events:
        by_run.setdefault(event["run"]["runId"], []).append(event["eventType"])
    assert all(kinds[0] == "START" and len(kinds) == 2 for kinds in by_run.values()), by_run
    assert not any(job.startswith("e.p.finance") for _, job in told(events))


@pytest.mark.parametrize(
    ("connection", "relation", "expected"),
    [
        (
            connection_pb2.Connection(postgres=connection_pb2.PostgresSystem(host="db", database="crm", user="me")),
            "orders",
            ("postgres://db:5432", "crm.public.orders"),
        ),
        (
            connection_pb2.Connection(postgres=connection_pb2.PostgresSystem(host="db", port=5433, database="crm")),
            "sales.orders",
            ("postgres://db:5433", "crm.sales.orders"),
        ),
        (
            connection_pb2.Connection(mysql=connection_pb2.MysqlSystem(host="db", database="crm")),
            "orders",
            ("mysql://db:3306", "crm.orders"),
        ),
        (
            connection_pb2.Connection(files=connection_pb2.FilesSystem(root="/data/crm/")),
            "2024/orders.csv",
            ("file", "/data/crm/2024/orders.csv"),
        ),
        (
            connection_pb2.Connection(files=connection_pb2.FilesSystem(root="s3://bucket/crm")),
            "orders.csv",
            ("s3://bucket", "/crm/orders.csv"),
        ),
        (
            connection_pb2.Connection(http=connection_pb2.HttpApiSystem(base_url="https://api.example:8443/v2")),
            "/orders",
            ("https://api.example:8443", "/v2/orders"),
        ),
        (
            connection_pb2.Connection(
                sqlalchemy=connection_pb2.SqlalchemySystem(url="oracle+oracledb://me:secret@db:1521/?service_name=crm")
            ),
            "orders",
            ("oracle://db:1521/", "orders"),
        ),
        (
            connection_pb2.Connection(iceberg=connection_pb2.IcebergSystem(catalog_path="/lake/catalog.db")),
            "sales.orders",
            ("iceberg:///lake/catalog.db", "sales.orders"),
        ),
        (
            connection_pb2.Connection(
                name="environments/e/connections/old", plugin=connection_pb2.PluginSystem(kind="as400")
            ),
            "ORDERS",
            ("as400://old", "ORDERS"),
        ),
    ],
)
def test_a_relation_is_named_as_the_specification_names_it(
    connection: connection_pb2.Connection, relation: str, expected: tuple[str, str]
) -> None:
    assert dataset_name(connection, relation) == expected


@pytest.mark.parametrize(
    ("namespace", "name", "uri"),
    [
        ("file", "/data/crm/2024 orders.csv", "file:///data/crm/2024%20orders.csv"),
        ("sqlite:///old crm/books.db", "orders", "sqlite:///old%20crm/books.db"),
        ("postgres://db:5432", "crm.public.orders", "postgres://db:5432"),
    ],
)
def test_where_a_relation_s_system_is_is_told_as_a_uri(namespace: str, name: str, uri: str) -> None:
    assert source_uri(namespace, name) == uri
