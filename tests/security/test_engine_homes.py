"""Attack: whoever may declare a connection reads or writes the engine's own home by it: its store, its token, its keys."""

import sqlite3
from pathlib import Path

import pytest

from pymigrate.engine.adapters.connectors.alchemy import SqlalchemyConnector
from pymigrate.engine.adapters.connectors.duckdb import DuckdbConnector
from pymigrate.engine.adapters.connectors.files import FilesConnector
from pymigrate.engine.adapters.connectors.sqlite import SqliteConnector
from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.engine.ports.connector import Connector, SystemSpec
from pymigrate.engine.ports.relations import SourceRelation

REFUSED = "home of an engine, which no connection reaches"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """That of an engine that serves, with a link to it from beside."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("endpoint", "acknowledge-key", "token", "note.csv"):
        (home / name).write_text("id\n1\n")
    sqlite3.connect(home / "engine.db").close()
    (tmp_path / "link").symlink_to(home)
    return home


@pytest.mark.parametrize("folder", ["home", "link"])
@pytest.mark.parametrize(
    ("connector", "options"),
    [
        (SqliteConnector(), {"path": "{}/engine.db"}),
        (DuckdbConnector(), {"path": "{}/made.duckdb"}),
        (SqlalchemyConnector(), {"url": "sqlite:///{}/engine.db"}),
        (FilesConnector(), {"root": "{}"}),
        (FilesConnector(), {"root": "{}/below"}),
    ],
)
def test_nothing_is_written_to_an_engine_s_home(
    home: Path, folder: str, connector: Connector, options: dict[str, str]
) -> None:
    spec = {name: value.format(home.parent / folder) for name, value in options.items()}
    with pytest.raises(InvalidDefinition, match=REFUSED):
        connector.open_target(SystemSpec(connector.kind, "c", spec))
    assert not (home / "made.duckdb").exists()
    assert not (home / "below").exists()


@pytest.mark.parametrize(
    ("connector", "options"),
    [
        (SqliteConnector(), {"path": "{}/engine.db"}),
        (SqlalchemyConnector(), {"url": "sqlite:///{}/engine.db"}),
    ],
)
def test_nor_is_its_store_read(home: Path, connector: Connector, options: dict[str, str]) -> None:
    spec = {name: value.format(home) for name, value in options.items()}
    with pytest.raises(InvalidDefinition, match=REFUSED):
        connector.open_source(SystemSpec(connector.kind, "c", spec))


@pytest.mark.parametrize(
    ("root", "relation"), [("{}", "note.csv"), ("{}/..", "home/note.csv"), ("{}/..", "link/note.csv")]
)
def test_no_file_of_it_is_a_source_from_wherever_the_folder_begins(home: Path, root: str, relation: str) -> None:
    source = FilesConnector().open_source(SystemSpec("files", "c", {"root": root.format(home)}))
    with pytest.raises(InvalidDefinition, match=REFUSED):
        source.describe(SourceRelation(relation))


def test_a_file_beside_it_is(home: Path) -> None:
    (home.parent / "other.csv").write_text("id\n1\n")
    source = FilesConnector().open_source(SystemSpec("files", "c", {"root": str(home.parent)}))
    assert source.describe(SourceRelation("other.csv")).columns
