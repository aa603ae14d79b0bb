"""Other tools that move tables: commands as a whole, libraries in a process that stands. What is not installed is named, and not measured.

`PYMIGRATE_BENCH_PEERS` names a folder with a virtual environment that holds them: `pip install ingestr==0.15.9 sling-linux-amd64==1.4.11
connectorx pgpq "psycopg[binary]" pyarrow polars`; pgloader is Debian's.
"""

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import indent
from urllib.parse import urlsplit

from _moving import shell

PEERS = "PYMIGRATE_BENCH_PEERS"


def program(name: str) -> str | None:
    """Where a program is: in the peers' environment, or on PATH."""
    folder = os.environ.get(PEERS, "")
    if folder:
        for found in (Path(folder) / "bin" / name, *Path(folder).glob(f"lib/python*/site-packages/*/bin/{name}")):
            if found.exists():
                return str(found)
    return shutil.which(name)


def ingestr(source: str, target: str, table: str) -> Callable[[], None] | None:
    """PostgreSQL to PostgreSQL."""
    if (found := program("ingestr")) is None:
        return None
    pipelines = tempfile.mkdtemp(prefix="pymigrate-ingestr-")
    return lambda: shell(
        f"cd {pipelines} && DISABLE_TELEMETRY=true {found} ingest --yes --full-refresh --progress log --source-uri '{source}' --dest-uri "
        f"'{target}' --source-table public.{table} --dest-table public.ingestr_{table} --pipelines-dir {pipelines}"
    )


def sling(source: str, target: str, table: str) -> Callable[[], None] | None:
    """PostgreSQL to PostgreSQL."""
    if (found := program("sling-linux-amd64") or program("sling")) is None:
        return None
    return lambda: shell(
        f"SLING_DISABLE_TELEMETRY=TRUE SOURCE='{source}?sslmode=disable' TARGET='{target}?sslmode=disable' {found} run --src-conn SOURCE "
        f"--src-stream public.{table} --tgt-conn TARGET --tgt-object public.sling_{table} --mode full-refresh"
    )


def pgloader(source: str, target: str, table: str) -> Callable[[], None] | None:
    """PostgreSQL or MySQL to PostgreSQL, one table without its indexes."""
    if (found := program("pgloader")) is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="pymigrate-pgloader-"))
    schema = "" if urlsplit(source).scheme == "mysql" else " in schema 'public'"
    origin = source if urlsplit(source).scheme == "mysql" else f"{source}?sslmode=disable"
    (folder / "load").write_text(
        f"load database from {origin} into {target}?sslmode=disable with include drop, create tables, no foreign keys, create no indexes, "
        "prefetch rows = 10000 "
        f"including only table names matching '{table}'{schema};\n"
    )
    return lambda: shell(f"{found} {folder}/load")


def connectorx(source: str, target: str, table: str) -> Callable[[], None] | None:
    """MySQL to PostgreSQL: its Arrow, encoded by pgpq, by COPY binary."""
    return _standing(
        "connectorx",
        "import connectorx, pgpq, psycopg",
        f"table = connectorx.read_sql({source!r}, 'SELECT * FROM {table}', return_type='arrow')\n"
        "encoder = pgpq.ArrowToPostgresBinaryEncoder(table.schema)\n"
        "columns = ', '.join(f'{c} {s.data_type.ddl()}' for c, s in zip(table.schema.names, encoder.schema().columns))\n"
        f"with psycopg.connect({target!r}) as connection:\n"
        f"    connection.execute('DROP TABLE IF EXISTS connectorx_{table}')\n"
        f"    connection.execute(f'CREATE TABLE connectorx_{table} ({{columns}})')\n"
        f"    with connection.cursor().copy('COPY connectorx_{table} FROM STDIN (FORMAT binary)') as copy:\n"
        "        copy.write(encoder.write_header())\n"
        "        for batch in table.to_batches(65_536):\n"
        "            copy.write(encoder.write_batch(batch))\n"
        "        copy.write(encoder.finish())\n",
    )


def polars(source: Path, target: Path, types: Mapping[str, str]) -> Callable[[], None] | None:
    """CSV to Parquet, packed with zstd; `types` are its own names of them."""
    schema = ", ".join(f"{name!r}: polars.{kind}" for name, kind in types.items())
    return _standing(
        "polars",
        "import polars",
        f"polars.read_csv({str(source)!r}, schema={{{schema}}}).write_parquet({str(target)!r}, compression='zstd')\n",
    )


def _standing(package: str, imports: str, work: str) -> Callable[[], None] | None:
    """A process of the peers' Python that has imported everything and does the work each time that it is told to, as ours has and does."""
    python = program("python") if os.environ.get(PEERS) else None
    if python is None or not any(Path(os.environ[PEERS]).glob(f"lib/python*/site-packages/{package}")):
        return None
    script = f"import sys\n{imports}\nfor _ in sys.stdin:\n{indent(work, '    ')}\n    print('done', flush=True)\n"
    process = subprocess.Popen([python, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)

    def turn() -> None:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        process.stdin.write("\n")
        process.stdin.flush()
        if process.stdout.readline() != "done\n":
            raise AssertionError(f"{package} ended with {process.wait()}")

    return turn
