"""Load modes and repairs through a real engine: appended rows come out again alone, and storage that changes a row is found and mended."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import grpc
import psycopg
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended
from tests.e2e.test_sagas import dataset, definitions, legacy, postgres, start  # noqa: F401  # a fixture of theirs
from tests.servers import MariadbDatabase

SPOIL = """
CREATE SEQUENCE spoiled;
CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.id = 77 AND nextval('spoiled') = 1 THEN NEW.name := 'spoiled'; END IF;
  RETURN NEW;
END $$;
CREATE FUNCTION attach() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE made record; BEGIN
  FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_identity LIKE '%customers__pymigrate%' LOOP
    EXECUTE format('CREATE TRIGGER spoil BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION spoil()', made.objid::regclass);
  END LOOP;
END $$;
CREATE EVENT TRIGGER attach ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION attach();
"""


def rolled_back(client: Client, name: str) -> run_pb2.Run:
    client.runs.RollbackRun(run_pb2.RollbackRunRequest(name=name), metadata=client.metadata, timeout=60)
    return ended(client, name)


def test_appended_rows_are_taken_out_again_and_blocked_when_one_was_changed(
    engine: EngineProcess,
    legacy: Path,  # noqa: F811  # the fixture
    tmp_path: Path,
) -> None:
    warehouse = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(warehouse)) as connection, connection:
        connection.execute("CREATE TABLE customers (id INTEGER, name TEXT, source TEXT DEFAULT 'here')")
        connection.execute("INSERT INTO customers VALUES (5, 'name 5', 'here'), (5, 'name 5', 'here')")

    def rows() -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(warehouse)) as connection:
            return connection.execute("SELECT * FROM customers ORDER BY rowid").fetchall()

    before = rows()
    datasets = {name: dataset(name, "w", loadMode="append") for name in ("shop", "club")}
    for each in datasets.values():
        del each["key"]
        each["source"]["relation"] += "_rows"
    with closing(sqlite3.connect(legacy)) as connection, connection:
        for name in ("shop", "club"):
            connection.execute(f"CREATE TABLE {name}_rows (id INTEGER, name TEXT)")
            connection.execute(f"INSERT INTO {name}_rows SELECT id, name FROM {name}")
    phase = {"department": "sales", "datasets": datasets}
    with engine.client() as client:
        text = definitions({"w": {"sqlite": {"path": str(warehouse)}}}, {"customers": phase}, legacy)
        declare(client, text, tmp_path / "plan.yaml")
        name = start(client)
        run = ended(client, name)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
        assert len(rows()) == 1_002
        with closing(sqlite3.connect(warehouse)) as connection, connection:
            connection.execute("UPDATE customers SET source = 'changed' WHERE rowid = 700")
        run = rolled_back(client, name)
        assert run.state == run_pb2.RUN_STATE_ROLLBACK_BLOCKED
        assert "written to since" in run.phases["customers"].failure.message
        assert len(rows()) == 1_002
        with closing(sqlite3.connect(warehouse)) as connection, connection:
            connection.execute("UPDATE customers SET source = 'here' WHERE rowid = 700")
        assert rolled_back(client, name).state == run_pb2.RUN_STATE_ROLLED_BACK
    assert rows() == before


def test_rows_are_merged_and_appended_in_a_mariadb_and_taken_out_again(
    engine: EngineProcess,
    mariadb_database: MariadbDatabase,
    legacy: Path,  # noqa: F811  # the fixture
    tmp_path: Path,
) -> None:
    run_there = mariadb_database.run
    run_there("CREATE TABLE customers (id BIGINT PRIMARY KEY, name TEXT, touched TIMESTAMP(6) NULL ON UPDATE now(6))")
    run_there("INSERT INTO customers (id, name) VALUES (1, 'mine'), (2, 'name 2'), (9999, 'mine')")
    run_there("CREATE TABLE events (id BIGINT, name TEXT)")
    run_there("INSERT INTO events VALUES (400, 'name 400'), (400, 'name 400')")

    def rows() -> list[list[tuple[object, ...]]]:
        return [sorted(run_there(f"SELECT * FROM {table}"), key=repr) for table in ("customers", "events")]

    before, options = rows(), mariadb_database.options()
    system = {**options, "port": int(options["port"]), "sslMode": options["ssl_mode"]}
    del system["ssl_mode"]
    club = dataset("club", "w", loadMode="append")
    club["target"]["relation"] = "events"
    del club["key"]
    datasets = {"shop": dataset("shop", "w", loadMode="merge", conflictPolicy="overwrite", lanes=2), "club": club}
    with closing(sqlite3.connect(legacy)) as connection, connection:
        connection.execute("CREATE TABLE club_rows AS SELECT * FROM club")
    club["source"]["relation"] = "club_rows"
    with engine.client() as client:
        phase = {"department": "sales", "datasets": datasets}
        declare(client, definitions({"w": {"mysql": system}}, {"customers": phase}, legacy), tmp_path / "plan.yaml")
        name = start(client)
        run = ended(client, name)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
        assert run.phases["customers"].datasets["shop"].conflicts == 1
        assert [len(found) for found in rows()] == [501, 502]
        assert (1, "name 1", None) in rows()[0]
        assert rolled_back(client, name).state == run_pb2.RUN_STATE_ROLLED_BACK
    assert rows() == before


def test_a_row_that_a_trigger_changed_is_copied_again_and_told(
    engine: EngineProcess,
    create_postgres_database: Callable[[], str],
    legacy: Path,  # noqa: F811  # the fixture
    tmp_path: Path,
) -> None:
    dsn = create_postgres_database()
    with psycopg.connect(dsn) as connection:
        connection.execute(SPOIL.encode())
    phase = {"department": "sales", "datasets": {"shop": dataset("shop", "w")}}
    with engine.client() as client:
        declare(client, definitions({"w": postgres(dsn)}, {"customers": phase}, legacy), tmp_path / "plan.yaml")
        name = start(client)
        run = ended(client, name)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
        found = run.phases["customers"].datasets["shop"]
        assert (found.repaired_rows, found.verification.is_verified) == (1, True)
        [row] = found.verification.repaired
        assert (row.row, row.kind, list(row.columns)) == ("77", "changed", ["name"])
        events = client.runs.ListRunEvents(
            run_pb2.ListRunEventsRequest(parent=name), metadata=client.metadata, timeout=60
        ).events
        [event] = [event for event in events if event.type == "dataset.repaired"]
        assert (event.subject, event.failure.reason) == (f"{name}/phases/customers/datasets/shop", "ROWS_REPAIRED")
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT name FROM customers WHERE id = 77").fetchall() == [("name 77",)]


def test_rows_are_not_replaced_by_rows_that_nobody_reads_back(
    engine: EngineProcess,
    legacy: Path,  # noqa: F811  # the fixture
    tmp_path: Path,
) -> None:
    warehouse = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(warehouse)) as connection, connection:
        connection.execute("CREATE TABLE customers (id INTEGER, name TEXT)")
        connection.execute("INSERT INTO customers VALUES (1, 'mine')")
    shop = dataset("shop", "w", loadMode="replace", verification="none")
    with engine.client() as client:
        text = definitions(
            {"w": {"sqlite": {"path": str(warehouse)}}},
            {"customers": {"department": "sales", "datasets": {"shop": shop}}},
            legacy,
        )
        declare(client, text, tmp_path / "plan.yaml")
        with pytest.raises(grpc.RpcError, match="verification") as refused:
            start(client)
        assert "nobody read back" in str(refused.value)
