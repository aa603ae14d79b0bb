"""Figures of a benchmark: PyMigrate and its reference measured in one run, printed with their ratio, and kept as JSON.

Machines are shared and noisy: a figure is a median over rounds in which both sides take turns, and what is worth reading is the ratio.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
PERCENT = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `ratio` is the value over the reference's; `goal` is what was asked for, in words, and `met` whether it was reached."""

    figure: str
    value: float
    unit: str
    reference: str
    reference_value: float
    ratio: float
    goal: str
    met: bool


class Report:
    """Collects the figures of a subject; `write` prints and keeps them, and `more` that they were found from, by name."""

    def __init__(self, subject: str, packages: Sequence[str] = ()) -> None:
        self.subject = subject
        self.figures: list[Figure] = []
        self.more: dict[str, object] = {}
        self._packages = tuple(packages)

    def add(
        self, figure: str, value: float, unit: str, *, reference: str, reference_value: float, goal: str, met: bool
    ) -> Figure:
        """Takes in a figure and prints it."""
        ratio = value / reference_value if reference_value else 0.0
        found = Figure(figure, _short(value), unit, reference, _short(reference_value), _short(ratio), goal, met)
        self.figures.append(found)
        sign = "met" if met else "MISSED"
        print(
            f"{figure}: {found.value:g} {unit}  ({reference}: {found.reference_value:g} {unit}, ratio {found.ratio:g})  {goal}: {sign}"
        )
        return found

    def write(self, results: Path = RESULTS) -> Path:
        """Keeps the figures as `<subject>.json`, under what they were measured with."""
        results.mkdir(parents=True, exist_ok=True)
        kept = {
            "command": " ".join(["python", f"benchmarks/{self.subject}.py", *sys.argv[1:]]),
            "date": datetime.now(UTC).date().isoformat(),
            "cores": os.cpu_count(),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in self._packages}},
            "figures": [asdict(figure) for figure in self.figures],
            **self.more,
        }
        path = results / f"{self.subject}.json"
        path.write_text(json.dumps(kept, indent=2) + "\n")
        return path


def arguments(about: str) -> argparse.Namespace:
    """`--quick` for a first look within 50 seconds, `--results` for another folder than the kept one."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="a first look, within 50 seconds")
    parser.add_argument(
        "--tiny", action="store_true", help="the smallest size that runs everything; its figures say nothing"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON")
    return parser.parse_args()


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes, without the collector's pauses."""
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started
    finally:
        gc.enable()


def interleaved(sides: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The median seconds of each side over rounds in which all of them take turns."""
    found: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, kept in zip(sides, found, strict=True):
            kept.append(seconds(side))
    return [statistics.median(kept) for kept in found]


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / PERCENT))]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
