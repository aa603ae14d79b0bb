"""`examples/gitops/one_branch` as its README says: merged into dev and staging, promoted to prod, and taken back by a revert."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.main.cli import build
from pymigrate.v1 import run_pb2
from tests.e2e.engines import ROOT, EngineProcess, ended, running_engine, wait_until
from tests.git_hosting import HttpsHost
from tests.git_works import Work
from tests.integration.engine.command_line import CommandLine

pytestmark = pytest.mark.measured

EXAMPLE = ROOT / "examples/gitops/one_branch"
ENVIRONMENTS = ("dev", "staging", "prod")
ROWS = 200


class Example:
    """A copy of the example in a repository, on a machine where its files lie elsewhere."""

    def __init__(self, folder: Path, host: HttpsHost, engine: EngineProcess) -> None:
        self.data = folder / "data"
        self.host, self.engine = host, engine
        self.bare = host.create("migrations")
        self.work = Work(folder / "work")
        self.pymigrate = CommandLine(engine.home)
        self.pymigrate.app = build()
        shutil.copytree(EXAMPLE, self.work.folder, dirs_exist_ok=True)
        for path in self.work.folder.glob("migrations/environments/*.yaml"):
            path.write_text(path.read_text().replace("/srv/pymigrate", str(self.data)))
        for name in ENVIRONMENTS:
            (self.data / name).mkdir(parents=True)
            with closing(sqlite3.connect(self.data / name / "orders.db")) as legacy, legacy:
                legacy.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT NOT NULL)")
                legacy.executemany("INSERT INTO orders VALUES (?, ?)", [(at, f"note {at}") for at in range(ROWS)])
        token = folder / "token"
        token.write_text(host.token)
        login = (
            f'{{username: {host.username}, token: "file://{token}", caCertificates: {json.dumps(host.authority.pem)}}}'
        )
        sources = self.work.folder / "sources/sources.yaml"
        text = sources.read_text().replace("https://git.example.com/data/migrations.git", host.url("migrations"))
        sources.write_text(text.replace('{token: "file:///run/secrets/git_token"}', login))

    def push(self, files: dict[str, str | bytes | None], message: str) -> str:
        """Commits and pushes."""
        sha = self.work.commit(files, message)
        self.work.push(self.bare)
        return sha

    def merge_promotion(self) -> None:
        """Merges the branch that was pushed, as a person does."""
        branch = self.work.git("ls-remote", str(self.bare), "refs/heads/promote/*").split()[1]
        self.work.git("fetch", "--quiet", str(self.bare), branch)
        self.work.git("merge", "--quiet", "--no-ff", "--message", "Release", "FETCH_HEAD")
        self.work.push(self.bare)
        self.work.git("push", "--quiet", str(self.bare), f":{branch}")

    def sync(self, name: str) -> None:
        """Fetches and applies."""
        self.pymigrate("git-sources", "sync", name)

    def status(self, name: str) -> dict[str, Any]:
        """Where a source stands."""
        found: list[dict[str, Any]] = json.loads(self.pymigrate("git-sources", "list", "--json"))["gitSources"]
        status: dict[str, Any] = next(each["status"] for each in found if each["name"] == f"gitSources/{name}")
        return status

    def is_ready(self, name: str) -> bool:
        """Whether everything holds of it."""
        return all(each.get("isMet") for each in self.status(name)["conditions"])

    def rows(self, environment: str) -> list[tuple[int, str]]:
        """What the warehouse of an environment holds."""
        with duckdb.connect(self.data / environment / "warehouse.duckdb", read_only=True) as warehouse:
            return warehouse.execute("SELECT id, note FROM orders ORDER BY id").fetchall()

    def succeeded(self, client: Client, environment: str, count: int) -> None:
        """Waits until so many runs of the plan have succeeded."""
        request = run_pb2.ListRunsRequest(parent=f"environments/{environment}/plans/warehouse")
        wait_until(lambda: len(client.runs.ListRuns(request, **client.options).runs) == count)
        newest = client.runs.ListRuns(request, **client.options).runs[0].name
        assert ended(client, newest).state == run_pb2.RUN_STATE_SUCCEEDED


@pytest.fixture
def example(tmp_path: Path, https_host: HttpsHost) -> Iterator[Example]:
    """The example, beside an engine that knows nothing yet."""
    with running_engine(tmp_path / "home") as engine:
        yield Example(tmp_path, https_host, engine)


def test_a_change_goes_from_dev_to_prod_and_a_revert_takes_it_back(example: Example) -> None:
    pymigrate = example.pymigrate
    pymigrate("validate", "-f", str(example.work.folder / "migrations"), "--environment", "prod")
    example.push({}, "Begin")
    pymigrate("apply", "-f", str(example.work.folder / "sources"))
    with example.engine.client() as client:
        for name in ("dev", "staging"):
            example.sync(name)
            example.succeeded(client, name, 1)
        pymigrate("promote", "prod")
        example.merge_promotion()
        example.sync("prod")
        pymigrate("start", "environments/prod/plans/warehouse")
        first = example.rows("prod")
        assert first == [(at, f"note {at}") for at in range(ROWS)]

        plan = "migrations/definitions/warehouse.yaml"
        text = (example.work.folder / plan).read_text()
        transform = "          transforms: [{derive: {columns: {note: {expression: upper(note), type: string}}}}]\n"
        example.push({plan: text + transform}, "Shout")
        for name in ("dev", "staging"):
            example.sync(name)
            example.succeeded(client, name, 2)
        assert "verification" in pymigrate("resolve", "environments/prod")
        pymigrate("promote", "prod")
        example.merge_promotion()
        example.sync("prod")
        pymigrate("start", "environments/prod/plans/warehouse")
        assert example.rows("prod") == [(at, f"NOTE {at}") for at in range(ROWS)]

        pin = example.work.git("log", "-1", "--format=%H", "--no-merges", "--", "pins/prod")
        example.work.revert(pin)
        example.work.push(example.bare)
        example.sync("prod")
        asked = example.status("prod")["reversal"]
        assert asked["state"] == "awaiting_approval"
        assert example.rows("prod") == [(at, f"NOTE {at}") for at in range(ROWS)], "nothing is undone before"
        pymigrate("approve-reversal", "prod", asked["commit"])
        wait_until(lambda: example.status("prod")["appliedCommit"] == asked["commit"], 120)
        assert example.rows("prod") == first
        assert example.is_ready("prod")
