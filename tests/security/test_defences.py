"""Every defence that SECURITY.md tells of is there, is tested, and is missed by its test when it is taken out.

PYMIGRATE_TEST_LONG=1 takes each out of a copy of the engine, one after the other, and expects its test to fail.
"""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.measuring import unmeasured
from tests.security.defences import DEFENCES, ENGINE, Defence

ROOT = Path(__file__).resolve().parents[2]
SECURITY = (ROOT / "SECURITY.md").read_text()
CLASSES_MIN = 24
by_attack = pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.attack)


def defined_in(path: Path) -> set[str]:
    """The tests that a file defines, those of its classes and of the classes that these take theirs from too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            found.add(node.name)
        elif (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("tests.")
            and "test_" not in str(node.module)
        ):
            other = ROOT / f"{(node.module or '').replace('.', '/')}.py"
            found |= defined_in(other) if other.exists() else set()
    return found


def is_there(test: str) -> bool:
    """Whether a test of that id is defined."""
    path, *names = test.split("::")
    return (ROOT / path).exists() and (not names or names[-1] in defined_in(ROOT / path))


def test_the_page_names_every_attack_class_with_its_test() -> None:
    rows = {
        cells[0]: cells[-1]
        for line in SECURITY.splitlines()
        if line.startswith("| ") and "::" in line and (cells := [cell.strip() for cell in line.strip("|").split("|")])
    }
    assert len(rows) >= CLASSES_MIN
    assert {defence.attack: defence.test in rows.get(defence.attack, "") for defence in DEFENCES} == {
        defence.attack: True for defence in DEFENCES
    }


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)*)`", SECURITY))
    assert named
    assert {test for test in named if not is_there(test)} == set()


@by_attack
def test_a_defence_stands_once_where_it_is_said_to_stand(defence: Defence) -> None:
    assert (ROOT / ENGINE / defence.file).read_text().count(defence.line) == 1


@pytest.mark.slow
@by_attack
def test_without_its_defence_the_test_of_an_attack_fails(defence: Defence, tmp_path: Path) -> None:
    copy = tmp_path / "pymigrate" / "engine"
    shutil.copytree(ROOT / ENGINE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / defence.file
    file.write_text(file.read_text().replace(defence.line, defence.without))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout=60", defence.test]
    environment = unmeasured() | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYMIGRATE_TEST_LONG")
    run = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 1, run.stdout[-4_000:]  # 1: tests were run, and some failed
