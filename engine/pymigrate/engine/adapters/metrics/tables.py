"""The series of one family within its budget: counted ones, which stay, and collected ones, which are as each scrape finds them."""

import threading
from collections.abc import Callable, Iterable, Iterator

from pymigrate.engine.adapters.metrics.series import HistogramSeries, Series
from pymigrate.engine.ports.metric_families import LABELS
from pymigrate.engine.ports.metrics import LABEL_CHARACTERS_MAX, OVERFLOW, Family, Kind, Labels

SLICE_VALUES = 500
BEYOND_BUDGET_READ_MAX = 2_000

OnOverflow = Callable[[int], None]


def check_labels(family: Family) -> None:
    """Raises ValueError for a label that is not on the list; a plugin's have rules of their own."""
    if family.is_plugin:
        return
    if unknown := sorted(set(family.labels) - LABELS):
        raise ValueError(f"{family.name} has labels that are not on the list of metric_families: {', '.join(unknown)}")


def is_tellable(labels: Labels) -> bool:
    """Whether the values can stand on the page: none is too long, or no text at all."""
    try:
        return all(len(value) <= LABEL_CHARACTERS_MAX and value.encode() is not None for value in labels)
    except UnicodeEncodeError:
        return False


class CountedTable:
    """What is added to and observed, on any thread."""

    def __init__(self, family: Family, on_overflow: OnOverflow) -> None:
        self.family = family
        self._on_overflow = on_overflow
        self._lock = threading.Lock()
        self._series: dict[Labels, Series] = {}
        self._histograms: dict[Labels, HistogramSeries] = {}

    def add(self, labels: Labels, amount: float) -> None:
        """Adds to the series of these labels."""
        if self.family.kind is not Kind.COUNTER or not amount >= 0:
            raise ValueError(
                f"{self.family.name} is a {self.family.kind} and can't take {amount!r}: counters take what is not negative"
            )
        with self._lock:
            series = self._series.get(labels)
            if series is None:
                labels, is_new = self._admit(labels, self._series)
                series = (
                    self._series.setdefault(labels, Series(self.family, labels)) if is_new else self._series[labels]
                )
            series.value += amount

    def observe(self, labels: Labels, value: float) -> None:
        """Counts a value into the series of these labels."""
        if self.family.kind is not Kind.HISTOGRAM:
            raise ValueError(f"{self.family.name} is a {self.family.kind}: only histograms take values")
        with self._lock:
            series = self._histograms.get(labels)
            if series is None:
                labels, is_new = self._admit(labels, self._histograms)
                if is_new:
                    self._histograms[labels] = HistogramSeries(self.family, labels)
                series = self._histograms[labels]
            series.observe(value)

    def forget(self, label: str, value: str) -> None:
        """Drops the series whose label has the value."""
        at = self.family.labels.index(label)
        with self._lock:
            self._series = {labels: each for labels, each in self._series.items() if labels[at] != value}
            self._histograms = {labels: each for labels, each in self._histograms.items() if labels[at] != value}

    def values(self) -> list[tuple[Labels, float]]:
        """The counters as they are."""
        with self._lock:
            return [(labels, series.value) for labels, series in self._series.items()]

    def distributions(self) -> list[tuple[Labels, list[int], float]]:
        """The histograms as they are: cumulative counts, and the sum."""
        with self._lock:
            return [(labels, each.cumulative(), each.sum) for labels, each in self._histograms.items()]

    def text(self) -> str:
        """The lines of all series."""
        with self._lock:
            series: list[Series | HistogramSeries] = [*self._series.values(), *self._histograms.values()]
            return "".join([each.text() for each in series])

    def _admit(
        self, labels: Labels, known: "dict[Labels, Series] | dict[Labels, HistogramSeries]"
    ) -> tuple[Labels, bool]:
        """The labels under which a new series is told, and whether there is none of them yet."""
        if len(labels) != len(self.family.labels):
            raise ValueError(
                f"{self.family.name} has the labels {', '.join(self.family.labels) or 'none'}, not {labels!r}"
            )
        if len(known) < self.family.series_max and is_tellable(labels):
            return labels, True
        self._on_overflow(1)
        rest = (OVERFLOW,) * len(self.family.labels)
        return rest, rest not in known


class CollectedTable:
    """What collectors read, in the loop, one page after the other."""

    def __init__(self, family: Family, on_overflow: OnOverflow) -> None:
        if family.kind is Kind.HISTOGRAM:
            raise ValueError(f"{family.name} is a histogram: it is observed, not collected")
        self.family = family
        self._on_overflow = on_overflow
        self._series: dict[Labels, Series] = {}
        self._page = 0
        self._rest: float | None = None

    def begin(self, page: int) -> None:
        """From now on values are of this page."""
        self._page = page
        self._rest = None

    def take(self, values: Iterable[tuple[Labels, float]]) -> Iterator[None]:
        """Takes values in, and pauses after so many. Labels that this page has already are left out. Raises what the values raise, and
        ValueError for other labels than the family has: what came before stays."""
        series, page, beyond = self._series, self._page, 0
        for at, (labels, value) in enumerate(values, 1):
            known = series.get(labels)
            if known is None:
                known = self._admit(labels, value)
            if known is None:
                beyond += 1
                self._keep_rest(value)
                if beyond > BEYOND_BUDGET_READ_MAX:
                    break
            elif known.page != page:
                known.page = page
                if value != known.value:
                    known.value = float(value)  # what is no number fails here, as its collector's failure
            if not at % SLICE_VALUES:
                yield
        if beyond:
            self._on_overflow(beyond)

    def text(self) -> str:
        """The lines of this page, each series where it was; what the page did not tell is forgotten."""
        page = self._page
        told = [each for each in self._series.values() if each.page == page]
        if len(told) < len(self._series):
            self._series = {labels: series for labels, series in self._series.items() if series.page == page}
        # Most are as they were, and a call less for each of them is worth the look.
        lines = [each.line if each.value == each.written else each.text() for each in told]
        if self._rest is not None:
            lines.append(Series(self.family, self._rest_labels(), self._rest).text())
        return "".join(lines)

    def values(self) -> list[tuple[Labels, float]]:
        """What the last page told."""
        told = [(labels, series.value) for labels, series in self._series.items() if series.page == self._page]
        return told if self._rest is None else [*told, (self._rest_labels(), self._rest)]

    def _admit(self, labels: Labels, value: float) -> Series | None:
        if len(labels) != len(self.family.labels):
            raise ValueError(
                f"{self.family.name} has the labels {', '.join(self.family.labels) or 'none'}, not {labels!r}"
            )
        is_taken = bool(labels) and labels == self._rest_labels()
        if len(self._series) >= self.family.series_max or is_taken or not is_tellable(labels):
            return None
        made = self._series[labels] = Series(self.family, labels, float(value))
        return made

    def _keep_rest(self, value: float) -> None:
        if self._rest is None:
            self._rest = value
        elif self.family.is_summed or self.family.kind is Kind.COUNTER:
            self._rest += value
        else:
            self._rest = max(self._rest, value)

    def _rest_labels(self) -> Labels:
        return (OVERFLOW,) * len(self.family.labels)
