"""Metrics in memory: what was counted, observed and collected, to be asked for by a test. Budgets hold as they do on the page."""

import threading
from collections import defaultdict

from pymigrate.engine.ports.metrics import OVERFLOW, Collector, Family, Kind, Labels, Page

PAGE = Page(b"# a page in memory\n", "text/plain; version=0.0.4; charset=utf-8")


class MemoryMetrics:
    """Metrics and Exposition. The page is always the same; what would stand on it is in `values`, `observed` and `read`."""

    def __init__(self) -> None:
        self.values: dict[Family, dict[Labels, float]] = defaultdict(dict)
        self.observed: dict[Family, dict[Labels, list[float]]] = defaultdict(dict)
        self.collectors: dict[str, Collector] = {}
        self._lock = threading.Lock()

    def add(self, family: Family, labels: Labels = (), amount: float = 1.0) -> None:
        """As the port says."""
        if family.kind is not Kind.COUNTER or not amount >= 0:
            raise ValueError(f"{family.name} is a {family.kind} and can't take {amount!r}")
        with self._lock:
            counted = self.values[family]
            told = _within(family, labels, len(counted), is_known=labels in counted)
            counted[told] = counted.get(told, 0.0) + amount

    def observe(self, family: Family, labels: Labels, value: float) -> None:
        """As the port says."""
        if family.kind is not Kind.HISTOGRAM:
            raise ValueError(f"{family.name} is a {family.kind}: only histograms take values")
        with self._lock:
            observed = self.observed[family]
            told = _within(family, labels, len(observed), is_known=labels in observed)
            observed.setdefault(told, []).append(value)

    def forget(self, family: Family, label: str, value: str) -> None:
        """As the port says."""
        at = family.labels.index(label)
        for kept in (self.values[family], self.observed[family]):
            for labels in [labels for labels in kept if labels[at] == value]:
                del kept[labels]

    def collect(self, name: str, collector: Collector) -> None:
        """As the port says."""
        self.collectors[name] = collector

    async def page(self, accept: str = "", accept_encoding: str = "") -> Page:
        """Always the same."""
        return PAGE

    def read(self, name: str) -> dict[str, dict[Labels, float]]:
        """What a collector tells now, by the family's name."""
        return {reading.family.name: dict(reading.values) for reading in self.collectors[name]()}


def _within(family: Family, labels: Labels, count: int, *, is_known: bool) -> Labels:
    if len(labels) != len(family.labels):
        raise ValueError(f"{family.name} has the labels {', '.join(family.labels) or 'none'}, not {labels!r}")
    return labels if is_known or count < family.series_max else (OVERFLOW,) * len(labels)
