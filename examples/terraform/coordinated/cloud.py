"""Stands in for a cloud and an application: makes a database where there was none, and writes the setting that an application reads."""

import json
import os
import pathlib
import sqlite3
import sys


def provision(path: pathlib.Path) -> None:
    """A department's database with its customers, as a snapshot that is restored would have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE IF NOT EXISTS customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        rows = [(number, f"customer {number}") for number in range(1_000)]
        database.executemany("INSERT OR REPLACE INTO customers VALUES (?, ?)", rows)
    database.close()


def switch(path: pathlib.Path) -> None:
    """The application reads from another place from now on."""
    setting = {"warehouse": os.environ["WAREHOUSE"], "run": os.environ["RUN"]}
    path.write_text(json.dumps(setting))


if __name__ == "__main__":
    {"provision": provision, "switch": switch}[sys.argv[1]](pathlib.Path(sys.argv[2]))
