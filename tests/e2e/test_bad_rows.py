"""Bad input that shows only while it is copied: each dataset fails for itself, says what is wrong and where, and nothing is lost."""

import gzip
import random
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended
from tests.e2e.test_connectors import document

PLAN = "environments/e/plans/p"
ROWS, BAD = 20_000, 14_321
CHUNK_BYTES = 65_536
TOLD = {
    "wide": (
        rf"^chunk \d\d of lane wide\.wide: wide\.csv, row {BAD}: it has 3 fields, and the header 2",
        "source.relation",
    ),
    "cut": (
        r"^chunk \d+ of lane cut\.cut: cut\.csv\.gz, after row \d+: the gzip data is damaged or cut off",
        "source.relation",
    ),
    "double": (rf"^dataset double: 1 values of the key \(id\) occur more than once.*, such as {BAD}: ", "key"),
}


def lines() -> list[str]:
    """A header, and rows that can hardly be packed, so that a file is read in several pieces."""
    rng = random.Random(4)
    return ["id,note", *(f"{n},{rng.randbytes(60).hex()}" for n in range(1, ROWS + 1))]


def write(folder: Path, name: str, rows: list[str]) -> None:
    """A file of these lines."""
    text = "".join(f"{row}\n" for row in rows).encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """Files of which all but one go wrong in the middle."""
    folder = tmp_path / "exports"
    folder.mkdir()
    write(folder, "good.csv", lines())
    write(folder, "wide.csv", [f"{row},one too many" if row.startswith(f"{BAD},") else row for row in lines()])
    write(folder, "cut.csv.gz", lines())
    packed = (folder / "cut.csv.gz").read_bytes()
    (folder / "cut.csv.gz").write_bytes(packed[: len(packed) * 2 // 3])
    write(folder, "double.csv", [*lines(), f"{BAD},again"])
    return folder


def definitions(exports: Path, warehouse: Path) -> str:
    """One phase a file, and none needs another."""
    phases: dict[str, Any] = {}
    for path in sorted(exports.iterdir()):
        name = path.name.partition(".")[0]
        dataset = {
            "source": {"connection": "exports", "relation": path.name, "columns": {"id": {"type": "int64"}}},
            "target": {"connection": "warehouse", "relation": name},
            "key": ["id"],
            "chunkBytes": CHUNK_BYTES,
        }
        phases[name] = {"department": "sales", "datasets": {name: dataset}}
    return "---\n".join(
        [
            document("Environment", "e", {}),
            document("Department", "sales", {}),
            document("Connection", "exports", {"files": {"root": str(exports)}}),
            document("Connection", "warehouse", {"duckdb": {"path": str(warehouse)}}),
            document("Plan", "p", {"phases": phases}),
        ]
    )


def started(client: Client) -> str:
    asked = run_pb2.StartRunRequest(parent=PLAN)
    return client.runs.StartRun(asked, metadata=client.metadata, timeout=120).name


def test_what_is_wrong_in_the_middle_of_a_file_is_told_with_its_place_and_mended_without_loss(
    engine: EngineProcess, exports: Path, tmp_path: Path
) -> None:
    warehouse = tmp_path / "warehouse.duckdb"
    with engine.client() as client:
        declare(client, definitions(exports, warehouse), tmp_path / "plan.yaml")
        name = started(client)
        run = ended(client, name)
        assert run.state == run_pb2.RUN_STATE_FAILED
        assert {
            name: phase.state for name, phase in run.phases.items() if phase.state != run_pb2.PHASE_STATE_FAILED
        } == {"good": run_pb2.PHASE_STATE_PUBLISHED}
        for table, (said, field) in TOLD.items():
            dataset = run.phases[table].datasets[table]
            assert re.search(said, dataset.quarantine.message), dataset.quarantine.message
            assert dataset.quarantine.field == f"phases.{table}.datasets.{table}.{field}"
            assert run.phases[table].failure.field == dataset.quarantine.field
        write(exports, "wide.csv", lines())
        write(exports, "cut.csv.gz", lines())
        write(exports, "double.csv", lines())
        client.runs.RetryRun(run_pb2.RetryRunRequest(name=name), metadata=client.metadata, timeout=120)
        run = ended(client, name)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    engine.stop()
    with closing(duckdb.connect(str(warehouse), read_only=True)) as connection:
        for table in ("good", "wide", "cut", "double"):
            found = connection.execute(f"SELECT count(*), count(DISTINCT id), min(id), max(id) FROM {table}").fetchone()
            assert found == (ROWS, ROWS, 1, ROWS), table
