"""The throwaway PostgreSQL that the other tests rely on."""

from collections.abc import Callable

import psycopg
import pytest

from tests import servers
from tests.servers import PostgresCluster


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
