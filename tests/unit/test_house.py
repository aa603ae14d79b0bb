"""What the house promises to whoever works in it: locks, namespace, targets, lint and the committed report."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import conftest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
ROOTS = ("engine", "provider", "proto")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_names_versions_and_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index" not in text
    for requirement in re.split(r"\n(?=[A-Za-z])", text.strip()):
        assert re.match(r"[A-Za-z0-9._\-]+(\[[^]]+])?==\S+", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


def test_the_development_lock_holds_the_runtime_as_it_is() -> None:
    def versions(name: str) -> set[str]:
        return set(re.findall(r"^([A-Za-z0-9._\-]+==\S+)", (ROOT / name).read_text(), re.MULTILINE))

    assert versions("requirements.lock") <= versions("requirements-dev.lock")
    assert versions("requirements-build.lock") <= versions("requirements-dev.lock")


@pytest.mark.parametrize("root", ROOTS)
def test_a_source_root_and_its_namespace_folder_are_no_packages(root: str) -> None:
    assert not (ROOT / root / "__init__.py").exists()
    assert not (ROOT / root / "pymigrate" / "__init__.py").exists()


def test_every_target_of_the_makefile_says_what_it_does() -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert {line.split()[0] for line in told.splitlines()} == targets
    assert {"setup", "demo", "demo-clean", "test", "check", "bench", "proto", "wheel"} <= targets


@pytest.mark.parametrize(
    ("path", "line", "rule"),
    [
        ("engine/pymigrate/engine/domain/x.py", "import time\n\ntime.sleep(1)\n", "TID251"),
        ("engine/pymigrate/engine/transfer/x.py", "import datetime\n\nprint(datetime.datetime.now())\n", "TID251"),
        ("provider/pymigrate/provider/x.py", "print(1)\n", "T201"),
        ("tests/unit/x.py", "import time\n\ntime.sleep(1)\n", "TID251"),
        ("tests/unit/x.py", "from unittest.mock import patch\n\npatch('x')\n", "TID251"),
        ("engine/pymigrate/engine/ports/x.py", "try:\n    x = 1\nexcept Exception:\n    x = 2\n", "BLE001"),
    ],
)
def test_lint_refuses_what_the_style_forbids(path: str, line: str, rule: str) -> None:
    assert rule in rules_broken(path, line)


def test_the_clock_adapter_may_tell_the_time() -> None:
    told = "import datetime\nimport time\n\ntime.sleep(1)\nx = datetime.datetime.now(datetime.UTC)\n"
    assert "TID251" not in rules_broken("engine/pymigrate/engine/adapters/clock.py", told)


def rules_broken(path: str, text: str) -> set[str]:
    """The lint rules that a module at `path` with this text would break."""
    run = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "--stdin-filename", path, "-"],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    return set(re.findall(r"^\S+:\d+:\d+: ([A-Z]+\d+)", run.stdout, re.MULTILINE))


def test_the_committed_report_holds_outcomes_and_nothing_of_the_machine() -> None:
    report: dict[str, Any] = {
        "root": "/somewhere",
        "duration": 1.234567,
        "summary": {"passed": 1},
        "collectors": [{"nodeid": ""}],
        "tests": [
            {
                "nodeid": "tests/x.py::test_x",
                "outcome": "passed",
                "keywords": ["x"],
                "setup": {"duration": 0.1, "outcome": "passed"},
                "call": {"duration": 0.2, "outcome": "passed", "stdout": "/somewhere"},
            }
        ],
    }
    conftest.pytest_json_modifyreport(report)
    assert "/somewhere" not in str(report)
    assert report["summary"] == {"passed": 1}
    assert report["tests"] == [{"nodeid": "tests/x.py::test_x", "outcome": "passed", "duration": 0.3}]
