"""`make demo`, the first of the README's two commands, in a copy of the tree: with terraform and without, and again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.engines import ROOT

DEMO_SECONDS = 280


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the demo needs of the repository, in a folder of its own."""
    for name in ("tools", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def demo(tree: Path, path: str) -> str:
    """Runs the demo; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.demo"],
        cwd=tree,
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def engines_of(tree: Path) -> list[str]:
    """Processes that run for this tree's demo."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(tree / ".demo") in line:
            found.append(line)
    return found


def test_the_demo_migrates_everything_with_terraform_and_finds_nothing_to_change_the_second_time(
    tree: Path, require_terraform: str
) -> None:
    said = demo(tree, f"{Path(require_terraform).parent}:{os.environ['PATH']}")
    assert "336,776" in said
    assert "succeeded" in said
    assert "pymigrate serve --home .demo/engine" in said
    assert not engines_of(tree)
    assert "No changes" in demo(tree, f"{Path(require_terraform).parent}:{os.environ['PATH']}")
    assert not engines_of(tree)


def test_the_demo_without_terraform_says_so_and_applies_the_yaml_form(tree: Path, tmp_path: Path) -> None:
    without = tmp_path / "bin"
    without.mkdir()
    for name in ("sh", "git"):
        if program := shutil.which(name):
            (without / name).symlink_to(program)
    said = demo(tree, str(without))
    assert "terraform is not on PATH" in said
    assert "336,776" in said
    assert "No changes" in demo(tree, str(without))
