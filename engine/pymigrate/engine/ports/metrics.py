"""Counting and timing in the engine's words: families of series, what is counted into them, what is read at each scrape, and the page.

A series is a family with one value for each of its labels. A family has a budget of series: what is beyond it is told in one series
whose labels are all OVERFLOW, so that no name that somebody makes up costs memory.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

OVERFLOW = "overflow"
SERIES_MAX = 2_000
LABEL_CHARACTERS_MAX = 256

Labels = tuple[str, ...]


class Kind(StrEnum):
    """What a family's values are."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One name on the page. `labels` are the labels' names, `series_max` the budget, `buckets` the upper bounds of a histogram without
    the last, which is infinite. A gauge's series beyond the budget are told by their sum where it `is_summed`, else by the greatest.
    `is_plugin`: it is another package's, and its labels are not those of the engine's list."""

    name: str
    kind: Kind
    about: str
    labels: tuple[str, ...] = ()
    series_max: int = SERIES_MAX
    buckets: tuple[float, ...] = ()
    is_summed: bool = False
    is_plugin: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """The series of a family as they are at a scrape; those that are not among them are gone. The values may be gone through over
    several turns of the loop."""

    family: Family
    values: Iterable[tuple[Labels, float]]


Collector = Callable[[], Iterable[Reading]]


class Metrics(Protocol):
    """What the engine counts and times. Safe on every thread."""

    def add(self, family: Family, labels: Labels = (), amount: float = 1.0) -> None:
        """Adds to a counter; 0 makes its series appear. Raises ValueError for a negative amount, and for other labels than it has."""
        ...

    def observe(self, family: Family, labels: Labels, value: float) -> None:
        """Counts a value into a histogram. Raises ValueError for other labels than it has."""
        ...

    def forget(self, family: Family, label: str, value: str) -> None:
        """Drops the series whose label has this value."""
        ...

    def collect(self, name: str, collector: Collector) -> None:
        """Asks the collector at each scrape, in the loop. One that raises costs the page only what it has not told yet, and is counted
        under its name. No family is both counted and collected."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """What a scrape gets. `encoding` is the body's own, such as `gzip`; empty for none."""

    body: bytes
    content_type: str
    encoding: str = ""


class Exposition(Protocol):
    """The page of all series."""

    async def page(self, accept: str = "", accept_encoding: str = "") -> Page:
        """The page in the format that these headers of a request prefer. It never fails because a collector does, and lets everything
        else in the loop go on meanwhile. Whoever asks while it is being made gets the same one."""
        ...
