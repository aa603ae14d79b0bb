"""Samples as text: what text format 0.0.4 and OpenMetrics 1.0 write alike, and the heads in which they differ.

The output is that of prometheus-client's `generate_latest`, byte for byte; a test holds it to that.
"""

from collections.abc import Sequence

from prometheus_client.utils import floatToGoString

from pymigrate.engine.ports.metrics import Family, Kind, Labels

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
OPENMETRICS_END = "# EOF\n"
UNITS = ("seconds", "bytes", "ratio")
_TOTAL = "_total"
_EXPONENT_MIN = 1e6  # from here on Go writes an exponent, and Python does not
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


def number(value: float) -> str:
    """A value as Go writes it."""
    return repr(float(value)) if -_EXPONENT_MIN < value < _EXPONENT_MIN else str(floatToGoString(value))  # type: ignore[no-untyped-call]  # it takes what float() takes


def start_of_line(name: str, names: Sequence[str], labels: Sequence[str]) -> str:
    """Everything of a sample's line before its value, the labels ordered by their names."""
    if not names:
        return f"{name} "
    pairs = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in sorted(zip(names, labels, strict=True)))
    return f"{name}{{{pairs}}} "


def bucket_starts(family: Family, labels: Labels) -> list[str]:
    """The beginnings of a histogram's lines: its buckets, the infinite one, the count and the sum."""
    bounds = [*map(number, family.buckets), "+Inf"]
    names = (*family.labels, "le")
    starts = [start_of_line(f"{family.name}_bucket", names, (*labels, bound)) for bound in bounds]
    return [*starts, *(start_of_line(f"{family.name}_{part}", family.labels, labels) for part in ("count", "sum"))]


def base_name(family: Family) -> str:
    """The name without `_total`, which OpenMetrics gives to a counter's samples alone."""
    return family.name.removesuffix(_TOTAL) if family.kind is Kind.COUNTER else family.name


def unit_of(family: Family) -> str:
    """The base unit that the name ends in; empty for none."""
    last = base_name(family).rpartition("_")[2]
    return last if last in UNITS else ""


def head(family: Family) -> str:
    """What stands above a family's samples in the text format."""
    about = family.about.translate(_HELP_ESCAPES)
    return f"# HELP {family.name} {about}\n# TYPE {family.name} {family.kind}\n"


def openmetrics_head(family: Family) -> str:
    """What stands above a family's samples in OpenMetrics."""
    name, unit = base_name(family), unit_of(family)
    lines = f"# HELP {name} {family.about.translate(_ESCAPES)}\n# TYPE {name} {family.kind}\n"
    return f"{lines}# UNIT {name} {unit}\n" if unit else lines
