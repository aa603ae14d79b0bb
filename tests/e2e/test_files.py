"""Packed CSV files as one relation, through an engine, into PostgreSQL and into files."""

import gzip
from pathlib import Path

import psycopg

from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended
from tests.e2e.test_routes import document

ROWS = 3_000
TARGETS = {"server": "arrow", "texts": "csv", "lake": "arrow", "lines": "arrow"}


def test_a_glob_of_packed_csv_reaches_postgres_and_folders_whole(
    postgres_database: str, engine: EngineProcess, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for part in range(3):
        text = "id,name\n" + "".join(f'{n},"name, {n}"\n' if n % 7 else f"{n},\n" for n in range(part, ROWS, 3))
        (tmp_path / "in" / f"{part}.csv.gz").write_bytes(gzip.compress(text.encode()))
    found = psycopg.conninfo.conninfo_to_dict(postgres_database)
    server = f"{{postgres: {{host: {found['host']}, port: {found['port']}, database: {found['dbname']}, user: {found['user']}}}}}"
    texts = "{connection: exports, relation: '*.csv.gz', csv: {nullValues: ['']}}"
    typed = texts.replace("}}", "}, columns: {id: {type: int64}}}")
    targets = {
        "server": "{connection: server, relation: people}",
        "texts": "{connection: server, relation: texts}",
        "lake": "{connection: lake, relation: people, csv: {packing: gzip}}",
        "lines": "{connection: lake, relation: lines, jsonLines: {}}",
    }
    datasets = ", ".join(
        f"{n}: {{source: {texts if n == 'texts' else typed}, target: {t}, key: [id], verification: full}}"
        for n, t in targets.items()
    )
    text = "---\n".join(
        [
            document("Environment", "e", "{}"),
            document("Department", "sales", "{}"),
            document("Connection", "exports", f"{{files: {{root: '{tmp_path}/in'}}}}"),
            document("Connection", "lake", f"{{files: {{root: '{tmp_path}/lake'}}}}"),
            document("Connection", "server", server),
            document("Plan", "p", f"{{phases: {{people: {{department: sales, datasets: {{{datasets}}}}}}}}}"),
        ]
    )
    with engine.client() as client:
        declare(client, text, tmp_path / "plan.yaml")
        asked = run_pb2.StartRunRequest(parent="environments/e/plans/p")
        run = ended(client, client.runs.StartRun(asked, metadata=client.metadata, timeout=120).name)

    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    datasets_run = run.phases["people"].datasets
    assert {name: dataset.path for name, dataset in datasets_run.items()} == TARGETS
    assert {dataset.verification.target_rows for dataset in datasets_run.values()} == {ROWS}
    checksums = {name: dataset.verification.target_checksum for name, dataset in datasets_run.items()}
    assert checksums["server"] == checksums["lake"] == checksums["lines"] != checksums["texts"]
    assert [path.name.partition(".")[2] for path in (tmp_path / "lake" / "people").iterdir()][:1] == ["csv.gz"]
    assert sum(len(path.read_text().splitlines()) for path in (tmp_path / "lake" / "lines").iterdir()) == ROWS
