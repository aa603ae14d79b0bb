"""What targets are given of a PostgreSQL source's declarations: read back from each system's own catalogue."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import psycopg
import pytest

from pymigrate.engine.adapters.connectors.duckdb import DuckdbConnector
from pymigrate.engine.adapters.connectors.files_target import FilesTarget
from pymigrate.engine.adapters.connectors.mysql import MysqlConnector
from pymigrate.engine.adapters.connectors.postgres_source import PostgresSource
from pymigrate.engine.adapters.connectors.postgres_target import PostgresTarget
from pymigrate.engine.adapters.connectors.sqlite_source import SqliteSource
from pymigrate.engine.adapters.connectors.sqlite_target import SqliteTarget
from pymigrate.engine.adapters.connectors.target_sql import SqlTarget
from pymigrate.engine.domain.errors import InvalidDefinition, VerificationFailed
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.schema import ForeignKey, SchemaPart, TableIndex
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.staging import MergePolicy, Staging, StagingId
from pymigrate.engine.ports.target import Target
from tests.integration.connectors import routes
from tests.integration.connectors.routes import postgres_spec
from tests.servers import MariadbDatabase, PostgresCluster, empty_database

SHOP = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE customers (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email varchar(80) NOT NULL CONSTRAINT one_email UNIQUE,
  name text NOT NULL DEFAULT 'nobody''s', score numeric(10,2) DEFAULT 1.50, is_active boolean DEFAULT true NOT NULL,
  since timestamptz NOT NULL DEFAULT now(), born date DEFAULT '2000-01-31', feels mood DEFAULT 'good', extra jsonb DEFAULT '{}',
  code uuid DEFAULT gen_random_uuid(), span interval DEFAULT '1 day', CONSTRAINT adult CHECK (score >= 0)
);
COMMENT ON TABLE customers IS 'Who buys; it''s "everyone"';
COMMENT ON COLUMN customers.email IS 'In lower case';
CREATE INDEX customers_by_name ON customers (name, email);
CREATE INDEX customers_lower ON customers (lower(email)) WHERE is_active;
CREATE TABLE orders (
  id bigserial PRIMARY KEY, customer_id integer NOT NULL CONSTRAINT of_customer REFERENCES customers ON DELETE CASCADE,
  parent_id bigint CONSTRAINT of_parent REFERENCES orders (id), elsewhere integer
);
CREATE TABLE elsewhere (id integer PRIMARY KEY);
ALTER TABLE orders ADD CONSTRAINT not_moved FOREIGN KEY (elsewhere) REFERENCES elsewhere;
INSERT INTO customers (email) SELECT 'c' || n FROM generate_series(1, 5) AS n;
INSERT INTO orders (customer_id, parent_id) VALUES (1, NULL), (2, 1), (5, 1);
"""
CATALOGUE = {
    "columns": "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull, attidentity::text <> '' OR "
    "coalesce(pg_get_expr(adbin, adrelid), '') LIKE 'nextval%%', "
    "CASE WHEN pg_get_expr(adbin, adrelid) LIKE 'nextval%%' THEN NULL ELSE pg_get_expr(adbin, adrelid) END, "
    "col_description(attrelid, attnum) "
    "FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = %s::regclass AND attnum > 0 "
    "AND NOT attisdropped ORDER BY attnum",
    "indexes": "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass ORDER BY 1",
    "keys": "SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype <> 'c' "
    "ORDER BY 1",
    "comment": "SELECT obj_description(%s::regclass, 'pg_class')",
}
RELATIONS = {"customers": "customers", "orders": "orders"}


@pytest.fixture(scope="module")
def machine(postgres_clusters: Callable[[str], PostgresCluster]) -> PostgresCluster:
    """One version is enough: the catalogue's queries are tried on both by the sources' contract."""
    return postgres_clusters("machine")


@pytest.fixture
def databases(machine: PostgresCluster) -> Iterator[tuple[str, str]]:
    """A shop, and an empty database."""
    with empty_database(machine) as source, empty_database(machine) as target:
        run(source, SHOP)
        yield source, target


def run(dsn: str, statement: str, parameters: Sequence[object] | None = None) -> list[tuple[object, ...]]:
    """All rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


def catalogue(dsn: str, table: str) -> dict[str, list[tuple[object, ...]]]:
    """What PostgreSQL says of a table."""
    return {what: run(dsn, statement, (table,)) for what, statement in CATALOGUE.items()}


def moved(
    source: Source,
    target: Target,
    relation: str,
    attempt: str = "a",
    path: CopyPath = CopyPath.ARROW,
    relations: Mapping[str, str] = RELATIONS,
) -> Staging:
    """A staging with the shop's foreign keys between what is moved."""
    return routes.moved(source, target, SourceRelation(relation), attempt, path, relations)


def test_a_table_between_postgres_servers_is_declared_as_in_the_source(databases: tuple[str, str]) -> None:
    source, target = PostgresSource(postgres_spec(databases[0])), PostgresTarget(postgres_spec(databases[1]))
    stagings = [moved(source, target, name, path=CopyPath.POSTGRES_BINARY) for name in ("orders", "customers")]
    printed = [target.ddl(staging) for staging in stagings]
    target.publish(stagings)
    for name in ("orders", "customers"):
        ours, theirs = catalogue(databases[0], name), catalogue(databases[1], name)
        ours["keys"] = [key for key in ours["keys"] if key[0] != "not_moved"]
        ours["columns"] = [
            (*row[:1], "text", *row[2:4], "'good'::text", *row[5:]) if row[0] == "feels" else row
            for row in ours["columns"]
        ]
        assert theirs == ours
    assert run(databases[1], "INSERT INTO customers (email) VALUES ('new') RETURNING id, name") == [(6, "nobody's")]
    assert run(databases[1], "INSERT INTO orders (customer_id) VALUES (6) RETURNING id") == [(4,)]
    assert [note for note in printed[0].notes if "not_moved" in note]
    assert "the check constraint `adult` is not carried" in printed[1].notes
    source.close()
    target.close()


def test_the_printed_statements_make_the_same_table_and_print_without_writing(
    databases: tuple[str, str], machine: PostgresCluster
) -> None:
    source, target = PostgresSource(postgres_spec(databases[0])), PostgresTarget(postgres_spec(databases[1]))
    info = source.describe(SourceRelation("customers"))
    staging = Staging(StagingId("dry"), "shop.customers", info.columns, info.key, schema=info.schema)
    statements = target.ddl(staging).statements
    assert run(
        databases[1], "SELECT count(*) FROM pg_class WHERE relnamespace >= 16384 OR relname LIKE '%customers%'"
    ) == [(0,)]
    target.publish([moved(source, target, "customers", relations={"customers": "shop.customers"})])
    with empty_database(machine) as other:
        run(other, "".join(statements))
        assert catalogue(other, "shop.customers") == catalogue(databases[1], "shop.customers")
    source.close()
    target.close()


def test_a_second_replacement_keeps_names_keys_and_rights_and_both_lead_back(databases: tuple[str, str]) -> None:
    source, target = PostgresSource(postgres_spec(databases[0])), PostgresTarget(postgres_spec(databases[1]))
    first = [moved(source, target, name) for name in ("customers", "orders")]
    target.publish(first)
    before = {name: catalogue(databases[1], name) for name in ("customers", "orders")}
    run(databases[1], "CREATE INDEX mine ON customers (score)")
    run(
        databases[1],
        "DROP ROLE IF EXISTS reader; CREATE ROLE reader; GRANT SELECT, UPDATE ON customers TO reader WITH GRANT OPTION",
    )
    second = [moved(source, target, name, "b") for name in ("orders", "customers")]
    target.publish(second)
    after = {name: catalogue(databases[1], name) for name in ("customers", "orders")}
    assert after["orders"] == before["orders"]
    mine = ("CREATE INDEX mine ON public.customers USING btree (score)",)
    assert after["customers"]["indexes"] == sorted([*before["customers"]["indexes"], mine])
    assert run(databases[1], "SELECT has_table_privilege('reader', 'customers', 'UPDATE WITH GRANT OPTION')") == [
        (True,)
    ]
    run(databases[1], "DELETE FROM customers WHERE id = 5")  # no kept table forbids it
    run(databases[1], "INSERT INTO customers (id, email) VALUES (5, 'back')")
    run(databases[1], "DELETE FROM orders; DELETE FROM customers")
    run(databases[1], "DROP OWNED BY reader; DROP ROLE reader")
    third = [moved(source, target, name, "c") for name in ("customers", "orders")]
    target.publish(third)
    target.rollback(third)
    assert run(databases[1], "SELECT count(*) FROM customers") == [(0,)]
    assert catalogue(databases[1], "orders")["keys"] == before["orders"]["keys"]
    source.close()
    target.close()


def test_a_foreign_key_that_dangles_is_told_or_fails_as_the_policy_says(databases: tuple[str, str]) -> None:
    source, target = PostgresSource(postgres_spec(databases[0])), PostgresTarget(postgres_spec(databases[1]))
    run(databases[1], "CREATE TABLE clients (id integer PRIMARY KEY); INSERT INTO clients VALUES (1)")
    relations = {"customers": "clients", "orders": "orders"}
    told = moved(source, target, "orders", relations=relations)
    target.publish([told])
    [note] = target.schema_notes(told)
    assert "2 rows refer by (customer_id) to 2 values that `clients` does not have" in note
    target.rollback([told])
    fatal = moved(source, target, "orders", "b", relations=relations)
    keys = tuple(replace(key, is_fatal=True) for key in fatal.schema.foreign_keys)
    fatal = replace(fatal, schema=replace(fatal.schema, foreign_keys=keys))
    with pytest.raises(VerificationFailed, match="of_customer"):
        target.publish([fatal])
    assert run(databases[1], "SELECT to_regclass('orders')") == [(None,)]
    source.close()
    target.close()


def test_every_difference_of_a_table_that_is_there_is_told(databases: tuple[str, str], tmp_path: Path) -> None:
    source = PostgresSource(postgres_spec(databases[0]))
    info = source.describe(SourceRelation("orders"))
    source.close()
    create = (
        "CREATE TABLE orders (id integer NOT NULL UNIQUE, parent_id bigint, elsewhere integer NOT NULL, "
        "needed varchar(9) NOT NULL, filled varchar(9) DEFAULT 'x' NOT NULL)"
    )
    run(databases[1], create)
    with closing(sqlite3.connect(tmp_path / "t.sqlite")) as there:
        there.execute(create)
    with duckdb.connect(tmp_path / "t.duckdb") as there:
        there.execute(create)
    staging = Staging(StagingId("s"), "orders", info.columns, info.key, merge=MergePolicy.FAIL, schema=info.schema)
    systems = {
        "postgres": postgres_spec(databases[1]),
        "sqlite": SystemSpec("sqlite", "t", {"path": str(tmp_path / "t.sqlite")}),
        "duckdb": SystemSpec("duckdb", "t", {"path": str(tmp_path / "t.duckdb")}),
    }
    for kind, system in systems.items():
        target = routes.CONNECTORS[kind]().open_target(system)
        assert isinstance(target, SqlTarget)
        with pytest.raises(InvalidDefinition) as refused:
            target.check(staging)
        fields = [problem.field for problem in refused.value.problems]
        narrow = [] if kind == "sqlite" else ["source.columns.id"]  # SQLite's integers are all of one kind
        assert fields == ["source.columns.customer_id", *narrow, "target.relation"], kind
        replaced = target.ddl(replace(staging, merge=None, is_replace=True)).notes
        assert {note.split("`")[1] for note in replaced if "`orders`" in note} >= {
            "customer_id",
            "needed",
            "filled",
            "elsewhere",
        }
        target.close()


def test_what_is_omitted_is_not_declared(databases: tuple[str, str]) -> None:
    source, target = PostgresSource(postgres_spec(databases[0])), PostgresTarget(postgres_spec(databases[1]))
    staging = moved(source, target, "customers")
    staging = replace(staging, schema=replace(staging.schema, omit=frozenset(SchemaPart)))
    target.publish([staging])
    found = catalogue(databases[1], "customers")
    assert (found["indexes"], found["keys"]) == ([], [])
    assert len(target.ddl(replace(staging, id=StagingId("again"), relation="other")).statements) == 1
    source.close()
    target.close()


def test_duckdb_declares_what_it_can_and_tells_the_rest(databases: tuple[str, str], tmp_path: Path) -> None:
    source, connector = PostgresSource(postgres_spec(databases[0])), DuckdbConnector()
    system = SystemSpec("duckdb", "lake", {"path": str(tmp_path / "lake.duckdb")})
    for attempt in ("a", "b"):  # the second replaces tables that have indexes
        target = connector.open_target(system)
        assert isinstance(target, SqlTarget)
        stagings = [moved(source, target, name, attempt) for name in ("orders", "customers")]
        target.publish(stagings)
        notes = target.schema_notes(stagings[0])
        assert any("`of_customer` is not declared" in note and "every row" in note for note in notes)
        assert "the foreign key `of_customer` is checked at the publication" in " ".join(target.ddl(stagings[0]).notes)
        target.close()
    with duckdb.connect(tmp_path / "lake.duckdb") as lake:
        indexes = lake.execute(
            "SELECT index_name, is_unique FROM duckdb_indexes() WHERE schema_name = 'main' ORDER BY 1"
        ).fetchall()
        assert indexes == [
            ("customers_by_name", False),
            ("customers_pkey", True),
            ("one_email", True),
            ("orders_pkey", True),
        ]
        found = lake.execute(
            "SELECT column_name, column_default, comment FROM duckdb_columns() WHERE table_name = 'customers'"
        ).fetchall()
        told = {str(name): (default, comment) for name, default, comment in found}
        assert told["name"] == ("'nobody''s'", None)
        assert told["email"][1] == "In lower case"
        [(comment,)] = lake.execute("SELECT comment FROM duckdb_tables() WHERE table_name = 'customers'").fetchall()
        assert comment == 'Who buys; it\'s "everyone"\nPyMigrate customers_b'
        lake.execute("INSERT INTO customers (id, email) VALUES (9, 'x')")
        assert lake.execute("SELECT name, score::text, is_active, feels FROM customers WHERE id = 9").fetchall() == [
            ("nobody's", "1.50", True, "good")
        ]
    source.close()


def test_sqlite_declares_foreign_keys_in_its_tables_and_reads_them_again(
    databases: tuple[str, str], tmp_path: Path
) -> None:
    source, path = PostgresSource(postgres_spec(databases[0])), tmp_path / "shop.db"
    target = SqliteTarget(SystemSpec("sqlite", "shop", {"path": str(path)}))
    for attempt in ("a", "b"):
        stagings = [moved(source, target, name, attempt) for name in ("orders", "customers")]
        target.publish(stagings)
        assert target.schema_notes(stagings[0]) == []
        target.seal(stagings)
    target.close()
    source.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        connection.execute("INSERT INTO orders (id, customer_id) VALUES (9, 99)")
    connection.execute("INSERT INTO customers (id, email) VALUES (9, 'x')")
    row = connection.execute("SELECT name, score, is_active, born, since FROM customers WHERE id = 9").fetchone()
    assert row[:4] == ("nobody's", "1.50", 1, "2000-01-31")
    assert row[4].endswith("Z")
    connection.close()
    again = SqliteSource(SystemSpec("sqlite", "shop", {"path": str(path)}))
    schema = again.describe(SourceRelation("orders")).schema
    assert [(key.columns, key.relation, key.on_delete) for key in schema.foreign_keys] == [
        (("customer_id",), "customers", "CASCADE"),
        (("parent_id",), "orders", ""),
    ]
    again.close()


def test_files_tell_what_they_have_no_place_for(databases: tuple[str, str], tmp_path: Path) -> None:
    source = PostgresSource(postgres_spec(databases[0]))
    info = source.describe(SourceRelation("orders"))
    target = FilesTarget(SystemSpec("files", "lake", {"root": str(tmp_path / "lake")}))
    found = target.ddl(Staging(StagingId("s"), "orders", info.columns, info.key, schema=info.schema))
    assert found.statements == ()
    assert found.notes == (
        "the key is checked and not declared: files have none",
        "identity columns are not carried, since files have none: `id`",
        "foreign keys are not carried, since files have none: `not_moved`, `of_customer`, `of_parent`",
    )
    source.close()
    target.close()


def test_a_mariadb_tells_what_it_declares(mariadb_database: MariadbDatabase) -> None:
    mariadb_database.run(
        "CREATE TABLE customers (id int AUTO_INCREMENT PRIMARY KEY, email varchar(40) COMMENT 'Lower', "
        "UNIQUE one (email))"
    )
    mariadb_database.run(
        "CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL DEFAULT 7, note varchar(20) DEFAULT 'it''s', "
        "at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), "
        "day date DEFAULT '2000-01-31', KEY by_note (note(3)), KEY by_day (day, id), "
        "CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE) COMMENT 'What is bought'"
    )
    source = MysqlConnector().open_source(SystemSpec("mysql", "legacy", mariadb_database.options()))
    customers, orders = (source.describe(SourceRelation(name)) for name in ("customers", "orders"))
    source.close()
    assert [column.is_identity for column in customers.columns] == [True, False]
    assert customers.columns[1].comment == "Lower"
    assert customers.schema.indexes == (TableIndex("one", ("email",), True, True),)
    assert [column.default for column in orders.columns] == ["", "7", "'it''s'", "CURRENT_TIMESTAMP", "'2000-01-31'"]
    assert orders.schema.comment == "What is bought"
    assert orders.schema.indexes == (TableIndex("by_day", ("day", "id")), TableIndex("of_customer", ("customer",)))
    assert orders.schema.foreign_keys == (ForeignKey("of_customer", ("customer",), "customers", ("id",), "CASCADE"),)
    assert orders.schema.notes == ("the index `by_note` is not carried: it is more than columns in order",)


def test_a_duckdb_file_tells_what_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(path) as shop:
        shop.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, email VARCHAR UNIQUE, CHECK (id > 0))")
        shop.execute(
            "CREATE TABLE orders (id INTEGER, customer INTEGER REFERENCES customers (id), day DATE DEFAULT '2000-01-31')"
        )
        shop.execute('CREATE INDEX "By Day" ON orders (day, id)')
        shop.execute("CREATE INDEX negated ON orders ((-id))")
        shop.execute("COMMENT ON TABLE orders IS 'What is bought\nPyMigrate s1'")
        shop.execute("COMMENT ON COLUMN orders.day IS 'When'")
    source = DuckdbConnector().open_source(SystemSpec("duckdb", "legacy", {"path": str(path)}))
    customers, orders = (source.describe(SourceRelation(name)) for name in ("customers", "orders"))
    source.close()
    assert customers.schema.indexes == (TableIndex("customers_email_key", ("email",), True, True),)
    assert customers.schema.notes == ("a check constraint is not carried",)
    assert (orders.columns[2].default, orders.columns[2].comment) == ("'2000-01-31'", "When")
    assert orders.schema.comment == "What is bought"
    assert orders.schema.indexes == (TableIndex("By Day", ("day", "id")),)
    assert orders.schema.foreign_keys == (ForeignKey("orders_customer_fkey", ("customer",), "customers", ("id",)),)
    assert orders.schema.notes == ("the index `negated` is not carried: it is more than columns in order",)
