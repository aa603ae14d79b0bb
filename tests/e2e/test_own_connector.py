"""The example of a connector that another package brings: found by its entry point, and used like any other."""

import sys
from pathlib import Path

import duckdb
import grpc
import pytest

from pymigrate.v1 import connection_pb2, run_pb2
from tests.e2e.engines import EngineProcess, declare, ended
from tests.e2e.test_connectors import plan
from tests.packages import lay_out

EXAMPLE = Path(__file__).parents[2] / "examples" / "connector"
LINES = [f"line {number}, Zürich" for number in range(1, 1_001)]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example as an installer would lay it, on the path of the engine and its hosts."""
    site = tmp_path / "site"
    lay_out(EXAMPLE, site)
    (site / "lines_connector.py").write_text((EXAMPLE / "lines_connector.py").read_text())
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site


def test_a_connector_of_another_package_is_a_source_like_any_other(installed: Path, tmp_path: Path) -> None:
    assert installed not in map(Path, sys.path)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "all.txt").write_text("\n".join(LINES) + "\n")
    definitions = plan(
        {
            "letters": {"plugin": {"kind": "lines", "options": {"root": f"{tmp_path}/letters"}}},
            "warehouse": {"duckdb": {"path": f"{tmp_path}/w.duckdb"}},
        },
        {
            "letters": {
                "source": {"connection": "letters", "relation": "all.txt"},
                "target": {"connection": "warehouse", "relation": "letters"},
                "chunkBytes": 65_536,
                "verification": "full",
            }
        },
    )
    engine = EngineProcess(tmp_path / "home", is_warm=True)
    engine.start()
    try:
        with engine.client() as client:
            declare(client, definitions, tmp_path / "plan.yaml")
            asked = run_pb2.StartRunRequest(parent="environments/e/plans/p")
            run = ended(client, client.runs.StartRun(asked, metadata=client.metadata, timeout=120).name)
            found = client.connections.DiscoverSchema(
                connection_pb2.DiscoverSchemaRequest(name="environments/e/connections/letters"),
                metadata=client.metadata,
                timeout=60,
            )
            nowhere = connection_pb2.Connection(plugin=connection_pb2.PluginSystem(kind="nowhere"))
            created = client.connections.CreateConnection(
                connection_pb2.CreateConnectionRequest(
                    parent="environments/e", connection_id="nowhere", connection=nowhere
                ),
                metadata=client.metadata,
            )
            tried = connection_pb2.TestConnectionRequest(name=created.name)
            with pytest.raises(grpc.RpcError, match="no connector for nowhere"):
                client.connections.TestConnection(tried, metadata=client.metadata, timeout=60)
    finally:
        engine.stop()
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    assert [relation.relation for relation in found.relations] == ["all.txt"]
    with duckdb.connect(tmp_path / "w.duckdb", read_only=True) as warehouse:
        rows = warehouse.execute("SELECT text FROM letters ORDER BY line").fetchall()
    assert [text for (text,) in rows] == LINES
