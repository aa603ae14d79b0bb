"""What the benchmark of transfers moves, and how: tables of mixed and of wide rows, and lanes from a source into a published target.

Ours are lanes as a run has them, each on a thread of one process: staging, chunks with their checkpoints, the digest in flight. What
reads back and what publishes is measured apart, or with it where another tool does its own. No key is declared, so that nobody builds an
index.
"""

import itertools
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.rates import FREE, Rate
from pymigrate.engine.domain.types import ColumnType
from pymigrate.engine.main.worker import HostMemory, connectors_by_kind
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.file_formats import FileFormat
from pymigrate.engine.ports.ranges import EVERYTHING, SourceRange
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.staging import Checkpoint, Staging, StagingId
from pymigrate.engine.ports.target import Target
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.inspection import inspect
from pymigrate.engine.transfer.inspection_job import InspectJob
from pymigrate.engine.transfer.lane_job import LaneJob
from pymigrate.engine.transfer.publication import publish, rollback
from pymigrate.engine.transfer.verification import verify
from pymigrate.engine.transfer.verification_job import Level, VerifyJob

MIXED = (
    "id bigint, a integer, b smallint, c bigint, d numeric(12,2), e numeric(18,4), f double precision, g real, h boolean, i date, "
    "j timestamp, k timestamptz, l text, m varchar(40), n text, o uuid, p jsonb, q time, r text, s integer, t text"
)
FILL_MIXED = """
INSERT INTO mixed SELECT n, (n % 1000)::int, (n % 300)::smallint, n * 7919, n * 1.25, n * 0.0003, n / 3.0, n / 7.0, n % 2 = 0,
  date '2020-01-01' + (n % 1000)::int, timestamp '2020-01-01' + n * interval '1 second',
  timestamptz '2020-01-01 00:00:00Z' + n * interval '1 second', 'customer ' || n, 'note ' || n % 100, md5(n::text), md5(n::text)::uuid,
  jsonb_build_object('n', n, 's', 'x'), time '00:00' + n * interval '1 second',
  CASE WHEN n % 5 = 0 THEN NULL ELSE 'street ' || n END, (n % 77)::int, 'Zürich'
FROM generate_series(1::bigint, {rows}) AS n
"""
WIDE = "id bigint, a text, b text"
FILL_WIDE = """
INSERT INTO wide SELECT n, repeat(md5(n::text), 24), repeat(md5((n + 1)::text), 24) FROM generate_series(1::bigint, {rows}) AS n
"""
_NUMBERS = itertools.count(1)


class Unasked:
    """Signals of a lane that nobody asks anything."""

    def is_draining(self) -> bool:
        return False

    def is_lost(self) -> bool:
        return False

    def wait(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    def rate(self) -> Rate:
        return FREE


@dataclass(frozen=True, slots=True)
class Origin:
    """What is read."""

    system: SystemSpec
    relation: str
    format: FileFormat | None = None
    columns: Mapping[str, ColumnType] = field(default_factory=dict)


def postgres(dsn: str) -> SystemSpec:
    """The system of a DSN."""
    found = conninfo_to_dict(dsn)
    names = {"host": "host", "port": "port", "database": "dbname", "user": "user"}
    options = {name: str(found[key]) for name, key in names.items()}
    return SystemSpec("postgres", options["database"], {**options, "ssl_mode": "disable"})


class Move:
    """One dataset, inspected once, that is copied over and over: path and ranges of its lanes, at most `lanes_max`, are the planner's."""

    def __init__(self, origin: Origin, target: SystemSpec, relation: str, lanes_max: int = 1) -> None:
        self._connectors = connectors_by_kind(HostMemory())
        self._origin, self._target, self._target_relation = origin, target, relation
        self._relation = SourceRelation(origin.relation, origin.format, columns=origin.columns)
        job = InspectJob(self._relation, StagingId("look"), relation, True, origin.system, target, lanes_max=lanes_max)
        found = inspect(job, self._open_source, self._open_target)
        if found.problems or found.source is None:
            raise AssertionError(found.problems)
        self._columns, self.path = found.source.columns, CopyPath(found.choice.path)
        self._ranges = found.ranges or (EVERYTHING,)
        self._state = found.source_state

    @property
    def lanes(self) -> str:
        """How many there are, in words."""
        return "one lane" if len(self._ranges) == 1 else f"{len(self._ranges)} lanes"

    def stage(self, on_progress: Callable[[Checkpoint], None] = lambda _: None) -> Staging:
        """Everything into a new staging."""
        number = next(_NUMBERS)
        staging = Staging(StagingId(f"b{number}"), f"{self._target_relation}_{number}", self._columns, path=self.path)

        def copy(number: int, part: SourceRange) -> None:
            relation, is_alone = replace(self._relation, range=part), len(self._ranges) == 1
            job = LaneJob("bench", relation, staging, f"lane{number}", 1, self._state, is_alone=is_alone)
            copy_lane(job, self._open_source, self._open_target, Unasked(), on_progress)

        with ThreadPoolExecutor(len(self._ranges)) as lanes:
            list(lanes.map(copy, range(len(self._ranges)), self._ranges))
        return staging

    def publish(self, staging: Staging) -> None:
        """Puts what is staged in its place."""
        publish([staging], self._open_target)

    def whole(self) -> Staging:
        """Staged and published."""
        staging = self.stage()
        self.publish(staging)
        return staging

    def drop(self, staging: Staging) -> None:
        """Takes a copy back."""
        rollback([staging], self._open_target)

    def verify(self, staging: Staging, level: Level = Level.SAMPLED) -> None:
        """Reads back what the level asks for."""
        lanes = tuple(f"lane{number}" for number in range(len(self._ranges)))
        job = VerifyJob("bench", self._relation, staging, lanes, level)
        verify(job, self._open_source, self._open_target, Unasked())

    def _open_source(self) -> Source:
        return self._connectors(self._origin.system.kind).open_source(self._origin.system)

    def _open_target(self) -> Target:
        return self._connectors(self._target.kind).open_target(self._target)


def shell(command: str) -> None:
    """Runs a pipe of programs, all of which must succeed."""
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{command}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
