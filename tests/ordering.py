"""In which order the suite's workers take its files: those that took longest in the last whole run first, so that none of them is left to
one worker at the end. `pytest_results.json` says how long each took; a file that it does not know may take long, and comes before all."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

REPORT = Path(__file__).resolve().parents[1] / "pytest_results.json"


def seconds_by_file(report: Path) -> Mapping[str, float]:
    """How long the tests of each file took together. Empty where there is no report."""
    if not report.exists():
        return {}
    found: defaultdict[str, float] = defaultdict(float)
    for test in json.loads(report.read_text())["tests"]:
        found[file_of(test["nodeid"])] += test["duration"]
    return found


def longest_first(items: Iterable[pytest.Item], seconds: Mapping[str, float]) -> list[pytest.Item]:
    """The same, file by file. Within a file, and among files of which nothing is known, they stay in their order."""
    return sorted(items, key=lambda item: -seconds.get(file_of(item.nodeid), math.inf))


def file_of(nodeid: str) -> str:
    """The file that a test is in."""
    return nodeid.partition("::")[0]
