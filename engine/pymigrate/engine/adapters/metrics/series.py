"""One series: its value, and the text that it was written as last. What did not change since the last scrape is not written anew."""

from bisect import bisect_left

from pymigrate.engine.adapters.metrics.text import bucket_starts, number, start_of_line
from pymigrate.engine.ports.metrics import Family, Labels


class Series:
    """A counter's or a gauge's series. `page` is the number of the last page that it was read for."""

    __slots__ = ("_start", "line", "page", "value", "written")

    def __init__(self, family: Family, labels: Labels, value: float = 0.0) -> None:
        self._start = start_of_line(family.name, family.labels, labels)
        self.written = self.value = value
        self.line = f"{self._start}{number(value)}\n"
        self.page = 0

    def text(self) -> str:
        """Its line; `line` is it where `value` is what was `written` last."""
        value = self.value
        if value != self.written:
            self.written = value
            self.line = f"{self._start}{number(value)}\n"
        return self.line


class HistogramSeries:
    """A histogram's series: how many values fell into each bucket and into none, and their sum."""

    __slots__ = ("_bounds", "_starts", "_text", "_written", "counts", "observed", "sum")

    def __init__(self, family: Family, labels: Labels) -> None:
        self._bounds = family.buckets
        self._starts = bucket_starts(family, labels)
        self._text = ""
        self._written = -1
        self.counts = [0] * (len(family.buckets) + 1)
        self.observed = 0
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts a value into the first bucket whose bound it does not exceed."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.observed += 1
        self.sum += value

    def cumulative(self) -> list[int]:
        """How many values do not exceed each bound; the last: how many there are."""
        found, total = [], 0
        for count in self.counts:
            total += count
            found.append(total)
        return found

    def text(self) -> str:
        """Its lines."""
        if self.observed != self._written:
            self._written = self.observed
            values = (*self.cumulative(), self.observed, self.sum)
            lines = [f"{start}{number(value)}\n" for start, value in zip(self._starts, values, strict=True)]
            self._text = "".join(lines)
        return self._text
