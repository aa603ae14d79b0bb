"""Connectors beside databases and files, through a real engine."""

import json
import sqlite3
from pathlib import Path

import psycopg
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from pymigrate.v1 import run_pb2
from tests.apis import ApiServer, Asked, Reply, json_reply
from tests.e2e.engines import EngineProcess, declare, ended

pytestmark = pytest.mark.measured

HEAD = "apiVersion: pymigrate.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{environment}}}\nspec: {spec}\n"
ORDERS = [{"id": number, "price": f"{number}.10", "extra": {"n": number}} for number in range(1, 251)]
PAGE = 60


def document(kind: str, name: str, spec: object) -> str:
    """A document in its envelope; JSON is YAML."""
    environment = "" if kind == "Environment" else ", environment: e"
    return HEAD.format(kind=kind, name=name, environment=environment, spec=json.dumps(spec))


def plan(connections: dict[str, object], datasets: dict[str, object]) -> str:
    """One phase with these datasets."""
    return "---\n".join(
        [
            document("Environment", "e", {}),
            document("Department", "sales", {}),
            *[document("Connection", name, spec) for name, spec in connections.items()],
            document("Plan", "p", {"phases": {"all": {"department": "sales", "datasets": datasets}}}),
        ]
    )


def migrated(engine: EngineProcess, definitions: str, file: Path) -> run_pb2.Run:
    """The run of the plan, once it has ended."""
    with engine.client() as client:
        declare(client, definitions, file)
        started = client.runs.StartRun(
            run_pb2.StartRunRequest(parent="environments/e/plans/p"), metadata=client.metadata, timeout=120
        )
        return ended(client, started.name)


def by_cursor(asked: Asked) -> Reply:
    """Pages by cursor, for who knows the secret."""
    if asked.headers.get("authorization") != "Bearer t0ken":
        return Reply(status=401)
    if asked.path.endswith("orders"):
        first = int(asked.query.get("after", "0"))
        following = first + PAGE if first + PAGE < len(ORDERS) else None
        body = {"data": {"orders": ORDERS[first : first + PAGE]}, "next": following, "total": len(ORDERS)}
        return json_reply(body)
    return Reply(status=404)


def test_an_api_is_read_into_an_iceberg_table(engine: EngineProcess, api: ApiServer, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(some: Asked) -> Reply:
        asked.append(some.query.get("after", ""))
        is_first = asked.count(asked[-1]) == 1 and some.path.endswith("orders")
        return Reply(status=503, headers={"Retry-After": "0"}) if is_first else by_cursor(some)

    api.answer = answer
    (tmp_path / "token").write_text("Bearer t0ken")
    headers = {"Authorization": f"file://{tmp_path}/token"}
    form = {"records": "data.orders", "total": "total", "cursor": {"next": "next", "parameter": "after"}}
    columns = {"id": {"type": "int64"}, "price": {"type": "decimal(9,2)"}, "extra": {"type": "json"}}
    source = {"connection": "crm", "relation": "v1/orders", "httpJson": form, "columns": columns}
    run = migrated(
        engine,
        plan(
            {
                "crm": {"http": {"baseUrl": api.url, "headers": headers, "requestsPerSecondMax": 500}},
                "lake": {"iceberg": {"catalogPath": f"{tmp_path}/catalog.db", "warehouse": f"{tmp_path}/lake"}},
            },
            {"orders": {"source": source, "target": {"connection": "lake", "relation": "sales.orders"}, "key": ["id"]}},
        ),
        tmp_path / "plan.yaml",
    )
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
    dataset = run.phases["all"].datasets["orders"]
    assert (dataset.rows, dataset.rows_expected) == (250, 250)
    assert dataset.delivery == run_pb2.DELIVERY_EXACTLY_ONCE
    catalog = SqlCatalog("default", uri=f"sqlite:///{tmp_path}/catalog.db")
    rows = catalog.load_table("sales.orders").scan().to_arrow().to_pylist()
    catalog.close()
    assert sorted((row["id"], str(row["price"]), row["extra"]) for row in rows) == [
        (number, f"{number}.10", json.dumps({"n": number})) for number in range(1, 251)
    ]


def test_any_dialect_is_read_into_postgresql(engine: EngineProcess, postgres_database: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "legacy.db") as legacy:
        legacy.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
        legacy.executemany("INSERT INTO people VALUES (?, ?)", [(n, f"name {n}") for n in range(1, 501)])
    legacy.close()
    found = psycopg.conninfo.conninfo_to_dict(postgres_database)
    server = {name: found[key] for name, key in (("host", "host"), ("database", "dbname"), ("user", "user"))}
    run = migrated(
        engine,
        plan(
            {
                "legacy": {"sqlalchemy": {"url": f"sqlite:///{tmp_path}/legacy.db"}},
                "warehouse": {"postgres": {**server, "port": int(str(found["port"]))}},
            },
            {
                "people": {
                    "source": {"connection": "legacy", "relation": "people"},
                    "target": {"connection": "warehouse", "relation": "people"},
                }
            },
        ),
        tmp_path / "plan.yaml",
    )
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
    assert run.phases["all"].datasets["people"].delivery == run_pb2.DELIVERY_EXACTLY_ONCE
    with psycopg.connect(postgres_database) as connection:
        rows = connection.execute("SELECT id, name FROM people ORDER BY id").fetchall()
    assert rows == [(n, f"name {n}") for n in range(1, 501)]
