"""Impact analysis with real systems: what is told before a run, beside it and after it, and that a probe leaves nothing."""

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.main import cli
from pymigrate.v1 import connection_pb2, impact_pb2, run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, running_engine, wait_until
from tests.servers import PostgresCluster, empty_database, free_port

Json = dict[str, Any]
ENVIRONMENT = "environments/e"
PLAN, LOST = f"{ENVIRONMENT}/plans/p", f"{ENVIRONMENT}/plans/lost"
ROWS, NOTES = 60_000, 20_000
PROBE_SECONDS = 5
THROTTLED_ROWS, BYTES_PER_SECOND = 16_000, 100_000
CHUNK_SECONDS_MAX = 1.0  # of a lane that is held to a rate
CREATE = f"""
CREATE TABLE orders (id bigint PRIMARY KEY, customer text, amount numeric(12,2), placed timestamptz);
INSERT INTO orders SELECT n, 'Käufer ' || n, n * 1.25, timestamptz '2020-01-01 00:00:00Z' + n * interval '1 minute'
FROM generate_series(1, {ROWS}) AS n;
CREATE INDEX ON orders (placed);
ANALYZE orders;
"""
WHAT_IF = """
together: {phases: {notes: {droppedDependencies: [orders]}}}
without: {phases: {notes: {isLeftOut: true}}}
readable: {phases: {orders: {downtimePolicy: read_only}}}
"""


def postgres(dsn: str, folder: Path, port: int = 0) -> Json:
    """A connection to a database, or to a port at which nobody listens."""
    found = conninfo_to_dict(dsn)
    secret = folder / "password.json"
    secret.write_text('{"password": "not asked for"}')
    return {
        "postgres": {
            "host": found["host"],
            "port": port or int(found.get("port") or 5432),
            "database": found["dbname"],
            "user": found["user"],
            "password": f"file://{secret}#password",
        }
    }


def moved(source: str, relation: str, target: str) -> Json:
    return {
        "source": {"connection": source, "relation": relation},
        "target": {"connection": target, "relation": f"copied_{relation}"},
    }


def documents(connections: Json, plans: dict[str, Json]) -> str:
    """An environment of one department, which runs the systems that are read."""
    department = {
        "owner": "Ann",
        "users": 10,
        "systems": {name: {"connection": name} for name in ("legacy", "old") if name in connections},
        "downtimeCostPerHour": {"currencyCode": "EUR", "amount": 3_600},
    }
    where = {"environment": "e"}
    found: list[Json] = [
        {"kind": "Environment", "metadata": {"name": "e"}},
        *({"kind": "Connection", "metadata": {"name": n, **where}, "spec": spec} for n, spec in connections.items()),
        {"kind": "Department", "metadata": {"name": "sales", **where}, "spec": department},
        *({"kind": "Plan", "metadata": {"name": n, **where}, "spec": {"phases": p}} for n, p in plans.items()),
    ]
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in found)


def phase(datasets: Json, *needs: str) -> Json:
    return {"department": "sales", "datasets": datasets, "dependencies": list(needs)}


def said(engine: EngineProcess, *arguments: str) -> str:
    """What `pymigrate` prints."""
    done = CliRunner().invoke(cli.build(), [*arguments, "--home", str(engine.home)], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    return done.output


def told(engine: EngineProcess, *arguments: str) -> Json:
    """What it prints as JSON."""
    found = json.loads(said(engine, *arguments, "--json"))
    assert isinstance(found, dict)
    return found


def start(client: Client, plan: str = PLAN) -> str:
    asked = run_pb2.StartRunRequest(parent=plan)
    return client.runs.StartRun(asked, metadata=client.metadata, timeout=120).name


# A plan, before, after and again -------------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """What was told of a plan, and what its targets held."""

    engine: EngineProcess
    held: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    first: Json = field(default_factory=dict)
    differences: str = ""
    compared: Json = field(default_factory=dict)
    run: str = ""
    estimate: Json = field(default_factory=dict)
    second: Json = field(default_factory=dict)


def targets(client: Client, dsn: str) -> dict[str, list[str]]:
    """The relations that each target holds, and what PyMigrate's own hold in the PostgreSQL."""
    asked = connection_pb2.DiscoverSchemaRequest(name=f"{ENVIRONMENT}/connections/duck")
    found = client.connections.DiscoverSchema(asked, metadata=client.metadata, timeout=60)
    with psycopg.connect(dsn) as connection:
        names = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        own = [name for schema, name in names if schema == "pymigrate"]
        rows = [connection.execute(f"SELECT count(*) FROM pymigrate.{name}".encode()).fetchall()[0][0] for name in own]
    return {
        "duck": sorted(each.relation for each in found.relations),
        "warehouse": sorted(name for schema, name in names if schema != "pymigrate"),
        "rows of our own": [str(count) for count in rows if count],
    }


@pytest.fixture(scope="module")
def story(postgres_cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Analyzed, compared, run and analyzed again: a PostgreSQL into another, and then a SQLite into a DuckDB."""
    folder = tmp_path_factory.mktemp("impact")
    with closing(sqlite3.connect(folder / "old.db")) as old, old:
        old.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT)")
        old.executemany("INSERT INTO notes VALUES (?, ?)", ((n, f"note {n:040}") for n in range(NOTES)))
    with (
        empty_database(postgres_cluster) as legacy,
        empty_database(postgres_cluster) as warehouse,
        running_engine(folder / "home") as engine,
        engine.client() as client,
    ):
        with psycopg.connect(legacy, autocommit=True) as connection:
            connection.execute(CREATE.encode())
        connections = {
            "legacy": postgres(legacy, folder),
            "warehouse": postgres(warehouse, folder),
            "old": {"sqlite": {"path": str(folder / "old.db")}},
            "duck": {"duckdb": {"path": str(folder / "w.duckdb")}},
            "away": postgres(legacy, folder, free_port()),
        }
        plans = {
            "p": {
                "orders": phase({"orders": moved("legacy", "orders", "warehouse")}),
                "notes": phase({"notes": moved("old", "notes", "duck")}, "orders"),
            },
            "lost": {"far": phase({"far": moved("away", "far", "warehouse")})},
        }
        declare(client, documents(connections, plans), folder / "plan.yaml")
        yield told_story(engine, client, warehouse, folder)


def told_story(engine: EngineProcess, client: Client, warehouse: str, folder: Path) -> Story:
    story = Story(engine, held=targets(client, warehouse))
    story.first = told(engine, "impact", PLAN, "--probe-seconds", str(PROBE_SECONDS))
    story.left = targets(client, warehouse)
    file = folder / "variants.yaml"
    file.write_text(WHAT_IF)
    asked = ("impact", PLAN, "--probe-seconds", "-1", "--what-if", str(file))
    story.differences, story.compared = said(engine, *asked), told(engine, *asked)
    story.run = start(client)
    run = ended(client, story.run)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    asking = impact_pb2.GetRunEstimateRequest(name=story.run)

    def is_learned() -> bool:
        story.second = told(engine, "impact", PLAN, "--probe-seconds", "-1")
        return all(each["basis"] == "history" for each in datasets(story.second).values())

    wait_until(is_learned)
    assert client.impacts.GetRunEstimate(asking, metadata=client.metadata, timeout=60).name == story.run
    story.estimate = told(engine, "estimate", story.run)
    return story


def datasets(found: Json) -> dict[str, Json]:
    """The datasets of all phases."""
    return {name: each for phase in found["phases"].values() for name, each in phase["datasets"].items()}


def test_a_plan_is_measured_within_its_time_and_told_in_terms_of_the_business(story: Story) -> None:
    found = story.first
    assert {name: (each["basis"], each["rows"]) for name, each in datasets(found).items()} == {
        "orders": ("measured", ROWS),
        "notes": ("measured", NOTES),
    }
    assert 0 < found["probeSeconds"] <= PROBE_SECONDS + 2
    assert "unknowns" not in found, found["unknowns"]
    summary = found["summary"]
    assert 0 < summary["makespanSeconds"]["p50"] <= summary["makespanSeconds"]["p90"]
    assert found["criticalPath"] == ["orders", "notes"]
    assert (summary["users"], summary["rows"]) == (10, ROWS + NOTES)
    downtime = found["departments"]["sales"]["downtimeSeconds"]["p50"]
    assert summary["costs"]["EUR"]["p50"] == pytest.approx(downtime, rel=0.05), "a second down costs a euro"


def test_a_probe_leaves_nothing_in_the_targets(story: Story) -> None:
    assert story.left == story.held == {"duck": [], "warehouse": [], "rows of our own": []}


def test_what_ifs_are_told_as_a_table_of_differences(story: Story) -> None:
    assert "what differs" in story.differences
    assert "left out" in story.differences
    found = {(row["variant"], row["subject"], row["measure"]): row for row in story.compared["differences"]}
    together = found["together", "plan", "makespan_seconds.p50"]
    assert together["difference"] < 0
    assert found["readable", "phases/orders", "downtime_seconds.p50"]["difference"] < 0
    assert story.compared["base"]["phases"]["orders"]["datasets"]["orders"]["basis"] == "measured"
    assert story.compared["variants"]["without"]["phases"].keys() == {"orders"}


def test_what_happened_stands_beside_what_was_estimated(story: Story) -> None:
    found = story.estimate
    assert found["makespan"]["actualSeconds"] > 0
    for name, each in found["phases"].items():
        for outcome in (each["duration"], each["downtime"], each["writeDowntime"]):
            estimated, actual = outcome["estimatedSeconds"]["p50"], outcome["actualSeconds"]
            assert min(estimated, actual) > 0, name
            assert outcome["error"] == pytest.approx(abs(estimated - actual) / actual)
    for dataset in datasets(found).values():
        assert dataset["basis"] == "measured"
        assert min(dataset[step]["actualSeconds"] for step in ("copy", "verify", "publish")) >= 0
    assert math.isfinite(found["drift"])


def test_the_second_analysis_says_that_it_knows_from_a_run_and_how_good_that_was(story: Story) -> None:
    for dataset in datasets(story.second).values():
        assert dataset["basis"] == "history"
        assert dataset["record"]["runs"] == 1
    actual = story.estimate["phases"]["orders"]["downtime"]["actualSeconds"]
    first, second = (each["phases"]["orders"]["downtimeSeconds"]["p50"] for each in (story.first, story.second))
    assert abs(second - actual) <= abs(first - actual) + 0.1 * actual


def test_a_run_that_has_ended_has_nothing_left(story: Story) -> None:
    assert f"{story.run}, P50 (P90)" in said(story.engine, "forecast", story.run)
    assert told(story.engine, "forecast", story.run).get("remainingSeconds", {}) == {}


def test_a_source_that_can_not_be_reached_is_told_and_widens_the_bounds(story: Story) -> None:
    found = told(story.engine, "impact", LOST, "--probe-seconds", "5")
    far = found["phases"]["far"]["datasets"]["far"]
    assert (far["basis"], far["rows"]) == ("assumed", -1)
    assert any("connect" in each for each in far["unknowns"]), far["unknowns"]
    assert any(each.startswith("Of far/far: ") for each in found["unknowns"])
    assert far["copySeconds"]["p90"] > 2 * far["copySeconds"]["p50"]


# A run under way -----------------------------------------------------------------------------------------------------------------------


def throttled(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "legacy.db")) as legacy, legacy:
        legacy.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT)")
        legacy.executemany("INSERT INTO notes VALUES (?, ?)", ((n, f"note {n:040}") for n in range(THROTTLED_ROWS)))
    connections = {
        "legacy": {"sqlite": {"path": str(folder / "legacy.db")}, "bytesPerSecondMax": BYTES_PER_SECOND},
        "duck": {"duckdb": {"path": str(folder / "w.duckdb")}},
    }
    return documents(connections, {"p": {"notes": phase({"notes": moved("legacy", "notes", "duck")})}})


def test_a_run_under_way_tells_when_it_ends(engine: EngineProcess, tmp_path: Path) -> None:
    with engine.client() as client:
        declare(client, throttled(tmp_path), tmp_path / "plan.yaml")
        name = start(client)
        forecasts: list[impact_pb2.RunForecast] = []

        def has_ended() -> bool:
            asked = impact_pb2.ForecastRunRequest(name=name)
            forecasts.append(client.impacts.ForecastRun(asked, metadata=client.metadata, timeout=60))
            return not forecasts[-1].phases

        wait_until(has_ended, interval_seconds=1.0)
        run = ended(client, name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    end = run.end_time.ToDatetime(UTC)
    under_way = [each for each in forecasts[:-1] if left(each, end) > 1]
    assert len(under_way) >= 3, "it takes some seconds"
    remaining = [each.remaining_seconds.p50 for each in under_way]
    assert remaining[-1] < remaining[0] / 2
    # A lane tells of a chunk when it is written and waits for it afterwards, and for a part of one before the first.
    for each in under_way:
        remaining_seconds, known_seconds = each.remaining_seconds, 2 * CHUNK_SECONDS_MAX
        assert remaining_seconds.p50 * 0.8 - known_seconds <= left(each, end) <= remaining_seconds.p90 + known_seconds


def left(forecast: impact_pb2.RunForecast, end: datetime) -> float:
    """What was really left then, in seconds."""
    return (end - forecast.forecast_time.ToDatetime(UTC)).total_seconds()
