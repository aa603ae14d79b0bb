"""Database targets whose disk is full: the chunk is not committed, nothing of it stays, and it is written once there is room."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pymigrate.engine.adapters.connectors.duckdb import DuckdbConnector
from pymigrate.engine.adapters.connectors.sqlite_target import SqliteTarget
from pymigrate.engine.domain.errors import SystemUnavailable
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.target import Target
from tests.integration.connectors.target_harness import LaneWriter, a_batch, a_staging, after, numbered, pairs
from tests.integration.connectors.test_postgres_target import PostgresHarness

FILLING = """
import signal, sys
from tests.integration.connectors.test_full_disks import fill
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
fill(sys.argv[1], sys.argv[2])
"""
FILE_BYTES_MAX = {"sqlite": 200_000, "duckdb": 2_000_000}
ROWS = 50_000
REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER refusing BEFORE UPDATE ON pymigrate.checkpoint FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def fill(kind: str, path: str) -> None:
    """Commits a chunk that the disk holds, and one that it does not, in a process whose files may not grow beyond a size."""
    system = SystemSpec(kind, "warehouse", {"path": path})
    target: Target = SqliteTarget(system) if kind == "sqlite" else DuckdbConnector().open_target(system)
    staging = a_staging()
    target.prepare(staging)
    lane = LaneWriter(target, staging).claim()
    lane.commit(numbered(1, 100))
    rows = [(at, f"{(at * 2654435761) % 2**64:020}" * 5) for at in range(101, ROWS + 1)]
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX[kind], hard))
    try:
        target.commit(staging, "lane", 1, lane.at, after(lane.at, len(rows)), [a_batch(rows)])
    except SystemUnavailable as error:
        sys.stdout.write(error.message)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    target.close()
    target = SqliteTarget(system) if kind == "sqlite" else DuckdbConnector().open_target(system)
    assert pairs(target.read_staging(staging)) == numbered(1, 100)
    assert target.checkpoint(staging, "lane") == (lane.at, 1)
    lane.target = target
    lane.commit(rows)
    assert target.count_staging(staging) == ROWS
    target.publish([staging])
    assert target.rows("orders") == ROWS
    target.close()


@pytest.mark.parametrize("kind", sorted(FILE_BYTES_MAX))
def test_a_file_that_can_not_grow_loses_nothing(tmp_path: Path, kind: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", FILLING, kind, str(tmp_path / "warehouse")], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert str(tmp_path / "warehouse") in found.stdout


@pytest.fixture
def server(postgres_database: str) -> PostgresHarness:
    return PostgresHarness(postgres_database)


def test_a_server_whose_disk_is_full_is_waited_for_and_loses_nothing(server: PostgresHarness) -> None:
    """The server says so with the very error that it has for it."""
    target, staging = server.open(), a_staging()
    target.prepare(staging)
    lane = LaneWriter(target, staging).claim()
    lane.commit(numbered(1, 2))
    server.run(REFUSING)
    with pytest.raises(SystemUnavailable, match="No space left on device"):
        lane.commit(numbered(3, 9))
    assert server.open().checkpoint(staging, "lane") == (lane.at, 1)
    server.run("DROP TRIGGER refusing ON pymigrate.checkpoint")
    assert pairs(target.read_staging(staging)) == numbered(1, 2)
    lane.commit(numbered(3, 9))
    assert target.count_staging(staging) == 9
    for opened in server.opened:
        opened.close()
