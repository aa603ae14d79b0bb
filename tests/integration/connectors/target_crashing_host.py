"""Hosts that die: a process that forks one for each line that it reads and tells how it ended.

A line is `lane|publish|append`, the kind of system, its options, a fence or attempt, a seed. Run as a module.
"""

import importlib
import json
import os
import random
import sys
from pathlib import Path

from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import StagingId
from pymigrate.engine.ports.target import Target
from tests.integration.connectors.target_harness import LaneWriter, a_staging, numbered

CHUNKS = 400
MODULES = {
    "duckdb": "duckdb_target",
    "files": "files_target",
    "iceberg": "iceberg_target",
    "mysql": "mysql_target",
    "postgres": "postgres_target",
    "sqlalchemy": "alchemy",
    "sqlite": "sqlite_target",
}


def open_target(kind: str, options: dict[str, str]) -> Target:
    """A target of a kind."""
    system = SystemSpec(kind, "target", options)
    match kind:
        case "duckdb":
            from pymigrate.engine.adapters.connectors.duckdb import DuckdbConnector

            return DuckdbConnector(memory_bytes_max=512 << 20).open_target(system)
        case "sqlite":
            from pymigrate.engine.adapters.connectors.sqlite_target import SqliteTarget

            return SqliteTarget(system)
        case "postgres":
            from pymigrate.engine.adapters.connectors.postgres_target import PostgresTarget

            return PostgresTarget(system)
        case "sqlalchemy":
            from pymigrate.engine.adapters.connectors.alchemy import SqlalchemyConnector

            return SqlalchemyConnector().open_target(system)
        case "iceberg":
            from pymigrate.engine.adapters.connectors.iceberg_target import IcebergTarget

            return IcebergTarget(system)
        case "mysql":
            from pymigrate.engine.adapters.connectors.mysql_target import MysqlTarget

            return MysqlTarget(system)
    from pymigrate.engine.adapters.connectors.files_target import FilesTarget

    return FilesTarget(system, options.get("ending", "parquet"))


def copy_lane(kind: str, options: dict[str, str], fence: int, seed: int) -> None:
    """Commit chunks of 1 to 300 rows until somebody ends it."""
    rng = random.Random(seed)
    target = open_target(kind, options)
    staging = a_staging(id=StagingId("crashing"))
    target.prepare(staging)
    lane = LaneWriter(target, staging, fence=fence).claim()
    for chunk in range(CHUNKS):
        tell(f"step {chunk}")
        first = lane.at.rows + 1
        lane.commit(numbered(first, first + rng.randrange(300)))


def publish_again_and_again(kind: str, options: dict[str, str], attempt: int, seed: int) -> None:
    """Stage and publish one attempt after the other, the n-th with n rows; takes every third one back."""
    target = open_target(kind, options)
    for number in range(attempt, attempt + CHUNKS):
        tell(f"step {number}")
        staging = a_staging(id=StagingId(f"attempt_{number}"), is_replace=True)
        target.prepare(staging)
        LaneWriter(target, staging).claim().commit(numbered(1, number))
        target.publish([staging])
        if (number + seed) % 3 == 0:
            target.rollback([staging])


def append_again_and_again(kind: str, options: dict[str, str], attempt: int, seed: int) -> None:
    """Append one attempt after the other; takes every third one back."""
    target = open_target(kind, options)
    for number in range(attempt, attempt + CHUNKS):
        tell(f"step {number}")
        staging = a_staging(id=StagingId(f"attempt_{number}"), is_append=True)
        target.prepare(staging)
        LaneWriter(target, staging).claim().commit(appended_rows(number))
        target.publish([staging])
        if (number + seed) % 3 == 0:
            target.rollback([staging])


def appended_rows(attempt: int) -> list[tuple[int, str | None]]:
    """What an attempt appends: rows that others have too, and one of its own."""
    return [(0, "same"), (0, "same"), (attempt, "own")]


def tell(text: str) -> None:
    """One line to whoever started this."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Fork a host for each line."""
    for line in sys.stdin:
        what, kind, options, number, seed = json.loads(line)
        # What takes long to import is imported before the fork, since every host would do it again.
        importlib.import_module(f"pymigrate.engine.adapters.connectors.{MODULES[kind]}")
        pid = os.fork()
        if pid == 0:
            work = {"lane": copy_lane, "publish": publish_again_and_again, "append": append_again_and_again}[what]
            work(kind, options, number, seed)
            os._exit(0)
        tell(str(pid))
        os.waitpid(pid, 0)
        tell("ended")


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
