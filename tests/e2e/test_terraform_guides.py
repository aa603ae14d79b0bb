"""The guides' configurations: the first one is applied as it stands, and each of the others is planned where that one was applied."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.acceptance import Stage, held_provider
from tests.e2e.engines import ROOT, running_engine

GUIDES = ROOT / "docs" / "guides"
FIRST = "first-migration"
OTHERS = sorted(path.stem for path in GUIDES.glob("*.md") if path.stem != FIRST)
BLOCKS = re.compile(r"^```terraform\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What each plan says; of the guide to importing, that it has something to import.
SAID = {"importing": "2 to import, 0 to add, 0 to change, 0 to destroy"}


def configuration(guide: str, folder: Path) -> str:
    """All blocks of a guide, with its files in a folder of the test's own."""
    text = "\n".join(BLOCKS.findall((GUIDES / f"{guide}.md").read_text()))
    assert text
    return text.replace("/srv/", f"{folder}/")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the guides' files are."""
    folder = tmp_path_factory.mktemp("srv")
    (folder / "legacy").mkdir()
    with contextlib.closing(sqlite3.connect(folder / "legacy" / "crm.db")) as legacy:
        legacy.executescript("CREATE TABLE customers (id INTEGER PRIMARY KEY); INSERT INTO customers VALUES (1), (2);")
    return folder


@pytest.fixture(scope="module")
def first(require_terraform: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The first guide, applied."""
    with running_engine(tmp_path_factory.mktemp("engine") / "home") as engine, held_provider(engine) as attached:
        stage = Stage(require_terraform, folder / "first", engine, attached, "prod")
        stage.write(configuration(FIRST, folder), has_header=False)
        stage.must("apply", "-auto-approve")
        yield stage


@pytest.fixture
def stage(first: Stage, tmp_path: Path) -> Stage:
    """An empty working directory beside it."""
    return first.beside(tmp_path / "stage")


def test_the_first_guide_migrates_and_has_an_empty_plan_afterwards(first: Stage) -> None:
    assert first.resources()["pymigrate_run_gate.warehouse"]["state"] == "succeeded"
    assert first.planned() == {}


@pytest.mark.parametrize("guide", OTHERS)
def test_a_guide_is_planned_as_it_stands(stage: Stage, folder: Path, guide: str) -> None:
    stage.write(configuration(guide, folder))
    assert SAID.get(guide, " to add, 0 to change, 0 to destroy.") in stage.must("plan")


@pytest.mark.parametrize("guide", [FIRST, *OTHERS])
def test_a_guide_has_what_the_registry_shows(guide: str) -> None:
    lines = (GUIDES / f"{guide}.md").read_text().splitlines()
    assert lines[0] == "---"
    assert [line.partition(":")[0] for line in lines[1:4]] == ["page_title", "subcategory", "description"]
    assert lines[5] == "---"
