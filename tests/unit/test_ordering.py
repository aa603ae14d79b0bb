"""The order in which the suite's workers take its files."""

import json
from pathlib import Path
from typing import cast

import pytest

from tests.ordering import longest_first, seconds_by_file


class Named:
    """As much of a test as an order asks for."""

    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid


def ordered(seconds: dict[str, float], *names: str) -> list[str]:
    """These tests as they are taken."""
    items = cast(list[pytest.Item], [Named(name) for name in names])
    return [item.nodeid for item in longest_first(items, seconds)]


def test_files_that_took_longest_come_first_and_their_tests_stay_in_their_order() -> None:
    seconds = {"short.py": 1.0, "long.py": 9.0}
    assert ordered(seconds, "short.py::b", "long.py::z", "short.py::a", "long.py::A::y[x::1]") == [
        "long.py::z",
        "long.py::A::y[x::1]",
        "short.py::b",
        "short.py::a",
    ]


def test_a_file_that_was_never_measured_comes_before_all() -> None:
    assert ordered({"long.py": 9.0}, "long.py::a", "new.py::a") == ["new.py::a", "long.py::a"]


def test_without_a_report_files_stay_in_their_order(tmp_path: Path) -> None:
    assert seconds_by_file(tmp_path / "none.json") == {}
    assert ordered({}, "b.py::a", "a.py::a") == ["b.py::a", "a.py::a"]


def test_a_report_s_tests_count_for_their_files(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    tests = [("a.py::x[p::q]", 1.5), ("a.py::B::y", 2.0), ("b.py::z", 0.25)]
    report.write_text(json.dumps({"tests": [{"nodeid": name, "duration": seconds} for name, seconds in tests]}))
    assert seconds_by_file(report) == {"a.py": 3.5, "b.py": 0.25}
