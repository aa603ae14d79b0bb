"""Environments in layers on a real engine: the example's eleven, two of which run the same plan on systems of their own."""

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from tests.e2e.engines import ROOT, EngineProcess
from tests.e2e.test_command_line import CommandLine

pytestmark = pytest.mark.measured

EXAMPLE = ROOT / "examples/environments/environments.yaml"
ENVIRONMENTS = (
    "base",
    "europe",
    "america",
    "production",
    "dev",
    "test",
    "staging-eu",
    "staging-us",
    "prod-eu",
    "prod-us",
    "rehearsal",
)


def example(data: Path) -> str:
    """The example with its files below a folder of the test's."""
    return EXAMPLE.read_text().replace("/srv/pymigrate", str(data))


def fill(folder: Path, rows: int) -> None:
    """A source of so many orders."""
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "orders.db")) as source, source:
        source.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, amount INTEGER)")
        source.executemany("INSERT INTO orders VALUES (?, ?)", ((number, rows) for number in range(rows)))


def arrived(folder: Path) -> tuple[int, int]:
    """How many orders came, and of what amount."""
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as warehouse:
        rows, amount = warehouse.sql("SELECT count(*), max(amount) FROM orders").fetchall()[0]
    return rows, amount


def test_ten_environments_share_a_plan_and_run_it_on_systems_of_their_own(
    engine: EngineProcess, tmp_path: Path
) -> None:
    pymigrate = CommandLine(engine)
    data = tmp_path / "data"
    fill(data / "dev", 10)
    fill(data / "eu-live", 25)
    documents = example(data).split("\n---\n")
    random.Random(9).shuffle(documents)
    file = tmp_path / "environments.yaml"
    file.write_text("\n---\n".join(documents))
    said = pymigrate("apply", "-f", str(file))
    assert {f"environments/{name} created" for name in ENVIRONMENTS} <= set(said.splitlines())
    assert "created" not in (again := pymigrate("apply", "-f", str(file)))
    assert "updated" not in again

    for environment in ("dev", "prod-eu"):
        assert "succeeded" in pymigrate(
            "report", pymigrate("start", f"environments/{environment}/plans/warehouse").split()[0]
        )
    assert arrived(data / "dev") == (10, 10)
    assert arrived(data / "eu-live") == (25, 25)

    found = json.loads(pymigrate("resolve", "environments/prod-eu", "--object", "connections/legacy", "--json"))
    assert found["layers"] == ["base", "europe", "production", "prod-eu"]
    fields = found["objects"][0]["fields"]
    assert fields["lanes_max"] == {
        "value": "8",
        "layer": "production",
        "parameters": ["lanes"],
        "isOverride": True,
    }
    path = fields["sqlite.path"]
    assert path == {
        "value": f"{data}/eu-live/orders.db",
        "layer": "base",
        "parameters": ["data", "region", "stage"],
    }
    table = pymigrate("resolve", "environments/rehearsal")
    assert "layers: base → europe → production → prod-eu → rehearsal" in table
    assert "connections/legacy  (declared in base)" in table

    refused = pymigrate("start", "environments/base/plans/warehouse", code=1)
    assert "environments/base is a template" in refused
    refused = pymigrate("delete", "environments/dev/connections/legacy", code=1)
    assert "is inherited from `base`" in refused
    refused = pymigrate("delete", "environments/base/connections/legacy", code=1)
    assert "is needed by environments/base/plans/warehouse/phases/orders" in refused
    refused = pymigrate("delete", "environments/europe", code=1)
    assert "is a base of environments/dev" in refused


def test_a_phase_of_a_base_stays_while_an_heir_has_published_it(engine: EngineProcess, tmp_path: Path) -> None:
    pymigrate = CommandLine(engine)
    data = tmp_path / "data"
    fill(data / "dev", 3)
    file = tmp_path / "environments.yaml"
    file.write_text(example(data))
    pymigrate("apply", "-f", str(file))
    run = pymigrate("start", "environments/dev/plans/warehouse").split()[0]
    before, after = example(data).split("kind: Plan\n", 1)
    emptied = (
        before
        + "kind: Plan\n"
        + after.replace(after[after.index("  phases:") : after.index("---\n")], "  phases: {}\n", 1)
    )
    file.write_text(emptied)
    assert f"has data that {run} published and that can still be taken back" in pymigrate(
        "apply", "-f", str(file), code=1
    )
    assert "datasets.orders.source.relation" in pymigrate(
        "resolve", "environments/prod-eu", "--object", "plans/warehouse"
    )
