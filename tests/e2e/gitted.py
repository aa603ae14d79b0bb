"""A legacy file, a target, and definitions of them in a real repository behind HTTPS, for tests of the whole way."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import psycopg
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import git_source_pb2, run_pb2
from tests.e2e.engines import ended, wait_until
from tests.git_hosting import HttpsHost
from tests.git_works import Work

ROWS = 300
REPOSITORY = "definitions"


def documents(*found: tuple[str, str, dict[str, Any]]) -> str:
    """Documents of these kinds, names and specs."""
    return "\n---\n".join(
        json.dumps({"apiVersion": "pymigrate.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
        for kind, name, spec in found
    )


def legacy_file(path: Path) -> Path:
    """Customers and their orders."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        connection.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL, note TEXT NOT NULL)"
        )
        for number in range(1, ROWS + 1):
            connection.execute("INSERT INTO customers VALUES (?, ?)", (number, f"Customer {number}"))
            connection.execute("INSERT INTO orders VALUES (?, ?, ?)", (number, number, f"note {number}"))
    return path


class Target:
    """A database that a plan writes to, and what lies in it."""

    def __init__(self, system: dict[str, Any], dsn: str = "", path: Path | None = None) -> None:
        self.system = system
        self._dsn = dsn
        self._path = path

    @classmethod
    def postgres(cls, dsn: str) -> "Target":
        """A PostgreSQL database."""
        parts = conninfo_to_dict(dsn)
        names = {"host": "host", "database": "dbname", "user": "user"}
        said = {name: parts[key] for name, key in names.items()} | {"port": int(str(parts["port"]))}
        return cls({"postgres": said}, dsn=dsn)

    @classmethod
    def sqlite(cls, path: Path) -> "Target":
        """A SQLite file."""
        with closing(sqlite3.connect(path)):
            pass
        return cls({"sqlite": {"path": str(path)}}, path=path)

    def content(self) -> dict[str, tuple[str, ...]]:
        """Every row of `customers` and `orders` with the columns' names and types, as text; a table that is not there has none."""
        return {table: self._rows(table) for table in ("customers", "orders")}

    def _rows(self, table: str) -> tuple[str, ...]:
        if self._path is not None:
            with closing(sqlite3.connect(self._path)) as connection:
                columns = connection.execute(f"SELECT name, type FROM pragma_table_info('{table}')").fetchall()
                rows = connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() if columns else []
                return (repr(columns), *map(repr, rows)) if columns else ()
        with psycopg.connect(self._dsn) as connection:
            if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,):
                return ()
            query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s ORDER BY 1"
            columns = connection.execute(query, (table,)).fetchall()
            with connection.cursor().copy(f"COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT") as copied:
                return (repr(columns), b"".join(copied).decode())


def dataset(relation: str, *transforms: Mapping[str, Any]) -> dict[str, Any]:
    """A table of the legacy file that takes the place of what the target has under its name."""
    return {
        "source": {"connection": "legacy", "relation": relation},
        "target": {"connection": "warehouse", "relation": relation, "loadMode": "replace"},
        "key": ["id"],
        "transforms": list(transforms),
    }


def plan(
    customers: Mapping[str, Any] | None = None, orders: Mapping[str, Any] | None = None
) -> tuple[str, str, dict[str, Any]]:
    """A phase for each table, the orders after the customers, with these transforms."""
    phases = {
        "customers": {
            "department": "sales",
            "datasets": {"customers": dataset("customers", *([customers] if customers else []))},
        },
        "orders": {
            "department": "sales",
            "dependencies": ["customers"],
            "datasets": {"orders": dataset("orders", *([orders] if orders else []))},
        },
    }
    return "Plan", "sales", {"phases": phases}


def systems(legacy: Path, target: Target) -> list[tuple[str, str, dict[str, Any]]]:
    """What plans need."""
    return [
        ("Department", "sales", {"owner": "Ann"}),
        ("Connection", "legacy", {"sqlite": {"path": str(legacy)}}),
        ("Connection", "warehouse", target.system),
    ]


class Gitted:
    """Sources of one repository, a working tree of somebody who pushes to it, and the client of an engine."""

    def __init__(self, client: Client, host: HttpsHost, folder: Path) -> None:
        self.client = client
        self.host = host
        self.bare = host.create(REPOSITORY)
        self.work = Work(folder / "work")
        self.token = folder / "token"
        self.token.write_text(host.token)

    def declare(self, name: str, environment: str, **more: Any) -> None:
        """Declares a source that looks by itself once a day: tests ask."""
        source = git_source_pb2.GitSource(
            url=self.host.url(REPOSITORY), environment=environment, interval_seconds=86_400, **more
        )
        source.https.username, source.https.token = self.host.username, f"file://{self.token}"
        source.https.ca_certificates = self.host.authority.pem
        request = git_source_pb2.CreateGitSourceRequest(git_source_id=name, git_source=source)
        self.client.git_sources.CreateGitSource(request, **self.client.options)

    def push(self, files: Mapping[str, str | bytes | None], message: str = "Change definitions") -> str:
        """Commits and pushes."""
        sha = self.work.commit(files, message)
        self.work.push(self.bare)
        return sha

    def revert(self, sha: str) -> str:
        """As `git revert` does, pushed."""
        found = self.work.revert(sha)
        self.work.push(self.bare)
        return found

    def sync(self, name: str) -> git_source_pb2.GitRevision:
        """Fetches and applies; what came of it."""
        request = git_source_pb2.SyncGitSourceRequest(name=f"gitSources/{name}")
        found: git_source_pb2.GitRevision = self.client.git_sources.SyncGitSource(request, **self.client.options)
        return found

    def diff(self, name: str) -> git_source_pb2.GitRevision:
        """What would change."""
        request = git_source_pb2.DiffGitSourceRequest(name=f"gitSources/{name}")
        found: git_source_pb2.GitRevision = self.client.git_sources.DiffGitSource(request, **self.client.options)
        return found

    def status(self, name: str) -> git_source_pb2.GitSourceStatus:
        """Where it stands."""
        request = git_source_pb2.GetGitSourceRequest(name=f"gitSources/{name}")
        found: git_source_pb2.GitSource = self.client.git_sources.GetGitSource(request, **self.client.options)
        return found.status

    def applied(self, name: str, sha: str) -> None:
        """Waits until a commit is applied."""
        wait_until(lambda: self._status_or_none(name).applied_commit == sha, 120)

    def run(self, environment: str, expected: int = run_pb2.RUN_STATE_SUCCEEDED) -> run_pb2.Run:
        """A run of the plan to its end."""
        request = run_pb2.StartRunRequest(parent=f"environments/{environment}/plans/sales")
        name = self.client.runs.StartRun(request, **self.client.options).name
        run = ended(self.client, name)
        assert run.state == expected, run.failure
        return run

    def _status_or_none(self, name: str) -> git_source_pb2.GitSourceStatus:
        """Where it stands; nothing while its engine is away."""
        try:
            return self.status(name)
        except grpc.RpcError:
            return git_source_pb2.GitSourceStatus()
