"""The throwaway PostgreSQL that the other tests rely on."""

from collections.abc import Callable

import psycopg
import pytest

from tests import servers
from tests.servers import PostgresCluster
from tests.spare_databases import Databases

OID = "SELECT oid FROM pg_database WHERE datname = current_database()"


def test_the_cluster_decodes_logically_and_prepares_transactions(postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        settings = connection.execute(
            "SELECT current_setting('wal_level'), current_setting('max_prepared_transactions')"
        ).fetchone()
    assert settings == ("logical", "10")


def test_the_cluster_tells_its_version(postgres: str, postgres_cluster: PostgresCluster) -> None:
    with psycopg.connect(postgres) as connection:
        major = connection.info.server_version // 10_000
    assert postgres_cluster.version.split(".")[0] == str(major)


def test_each_database_is_empty_and_its_own(create_postgres_database: Callable[[], str]) -> None:
    one, other = create_postgres_database(), create_postgres_database()
    with psycopg.connect(one) as connection:
        connection.execute("CREATE TABLE only_here (id int)")
    with psycopg.connect(other) as connection:
        assert connection.execute("SELECT to_regclass('only_here')").fetchone() == (None,)


def test_a_missing_server_is_a_skip_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-server is missing"):
        servers.absent("no-such-server")


def test_a_missing_server_is_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-server is missing"):
        servers.absent("no-such-server")


def test_a_database_that_was_used_is_given_again_as_if_it_were_new(
    postgres_clusters: Callable[[str], PostgresCluster],
) -> None:
    databases = Databases(postgres_clusters("machine").dsn)
    with databases.empty() as first, psycopg.connect(first) as connection:
        new = described(connection)
        connection.execute("CREATE TABLE left_here (id int PRIMARY KEY)")
        connection.execute("CREATE SCHEMA other CREATE VIEW v AS SELECT 1 AS one")
        connection.execute("CREATE TYPE other.mood AS ENUM ('sad')")
        connection.commit()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first)
    with databases.empty() as again, psycopg.connect(again) as connection:
        assert described(connection) == new
        assert again != first


def test_a_database_with_what_lies_in_no_schema_is_not_given_again(
    postgres_clusters: Callable[[str], PostgresCluster],
) -> None:
    databases = Databases(postgres_clusters("machine").dsn)
    with databases.empty() as first, psycopg.connect(first) as connection:
        [(oid,)] = connection.execute(OID).fetchall()
        connection.execute("CREATE PUBLICATION all_of_it FOR ALL TABLES")
        connection.commit()
    with databases.empty() as again, psycopg.connect(again) as connection:
        assert connection.execute(OID).fetchall() != [(oid,)]
        assert connection.execute("SELECT pubname FROM pg_publication").fetchall() == []


def described(connection: psycopg.Connection[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Everything that a database is made of, but what no test asks for: numbers of objects."""
    return connection.execute(
        "SELECT nspname, nspowner::regrole::text, nspacl::text, obj_description(oid) FROM pg_namespace"
        " WHERE nspname NOT LIKE 'pg_t%' UNION ALL SELECT relname, relkind::text, NULL, NULL FROM pg_class"
        " UNION ALL SELECT typname, NULL, NULL, NULL FROM pg_type UNION ALL SELECT proname, NULL, NULL, NULL FROM pg_proc"
        " ORDER BY 1, 2"
    ).fetchall()
