"""Lays out nycflights13, a public data set of every flight that left New York in 2013, as five departments' legacy systems.

Each department keeps its data as such departments do: SQLite databases, JSON Lines, Parquet and CSV. Nothing is cleaned: missing
values stay `NA` in the CSV, some tail numbers have no plane, and flights have no unique key.
"""

import csv
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

PACKAGE = "nycflights13"
FLIGHTS = 336_776
MISSING = "NA"
AIRPORT_NUMBERS = {"lat": float, "lon": float, "alt": int, "tz": int}
PLANE_NUMBERS = {"year", "engines", "seats", "speed"}


def lay_out(folder: Path) -> None:
    """Writes the five systems into a folder; what is there already is left alone, so that a second call changes nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in (
        ("commercial.db", _airlines),
        ("facilities/airports.jsonl", _airports),
        ("engineering.db", _planes),
        ("meteorology/weather.parquet", _weather),
        ("operations/flights.csv", _flights),
    ):
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"{path.name}.new")
            unfinished.unlink(missing_ok=True)
            write(unfinished)
            unfinished.replace(path)


def _airlines(path: Path) -> None:
    rows = [(row["carrier"], row["name"]) for row in _rows("airlines.csv")]
    _write_sqlite(path, "CREATE TABLE airlines (carrier TEXT PRIMARY KEY, name TEXT NOT NULL)", "airlines", rows)


def _planes(path: Path) -> None:
    columns = (
        "tailnum TEXT PRIMARY KEY, year INTEGER, type TEXT, manufacturer TEXT, model TEXT, "
        "engines INTEGER, seats INTEGER, speed INTEGER, engine TEXT"
    )
    rows = [
        tuple(None if text == MISSING else int(text) if name in PLANE_NUMBERS else text for name, text in row.items())
        for row in _rows("planes.csv")
    ]
    _write_sqlite(path, f"CREATE TABLE planes ({columns})", "planes", rows)


def _airports(path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in _rows("airports.csv"):
            record = {
                name: None if text == MISSING else AIRPORT_NUMBERS.get(name, str)(text) for name, text in row.items()
            }
            file.write(f"{json.dumps(record, ensure_ascii=False)}\n")


def _weather(path: Path) -> None:
    convert = pyarrow.csv.ConvertOptions(
        null_values=[MISSING], strings_can_be_null=True, column_types={"time_hour": pa.timestamp("us", tz="UTC")}
    )
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(_data("weather.csv"), convert_options=convert), path)


def _flights(path: Path) -> None:
    with zipfile.ZipFile(_data("flights.csv.zip")) as archive, archive.open("flights.csv") as source:
        path.write_bytes(source.read())


def _write_sqlite(path: Path, create: str, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.execute(create)
            places = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608 (our own table's name)
    finally:
        connection.close()


def _rows(name: str) -> Iterator[dict[str, str]]:
    with io.TextIOWrapper(_data(name).open("rb"), encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _data(name: str) -> Path:
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError as error:
        raise SystemExit(f"the package {PACKAGE} is not installed: run `make demo`, which installs it") from error
    found = next(file for file in files if file.name == name)
    return Path(str(found.locate()))
