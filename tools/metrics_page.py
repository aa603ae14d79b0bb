"""Writes the tables of docs/metrics.md from the families of engine and operator, and tells whether what is committed is what they say."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pymigrate.engine.ports.metric_families import FAMILIES
from pymigrate.engine.ports.metrics import Family
from pymigrate.engine.ports.operator_families import OPERATOR_FAMILIES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
BEGIN = "<!-- families{of}: written by python -m tools.metrics_page -->\n"
END = "<!-- end of families{of} -->\n"
TABLES = {"": FAMILIES, " of the operator": OPERATOR_FAMILIES}


def main() -> int:
    """Write in place, or with --check only compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is not up to date")
    page = PAGE.read_text()
    fresh = with_table(page)
    if parser.parse_args().check:
        if page != fresh:
            sys.stderr.write(f"{PAGE.name} is not what the families say: run python -m tools.metrics_page\n")
            return 1
        return 0
    PAGE.write_text(fresh)
    return 0


def with_table(page: str) -> str:
    """The page with its tables as the families say."""
    for of, families in TABLES.items():
        begin, end = BEGIN.format(of=of), END.format(of=of)
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n{table(families)}\n\n{end}{after}"
    return page


def table(families: Sequence[Family]) -> str:
    """Every family, in the order in which they are declared."""
    rows = ["| family | kind | labels | series at most | what it is |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*rows, *map(_row, families)])


def _row(family: Family) -> str:
    labels = ", ".join(family.labels)
    return f"| `{family.name}` | {family.kind} | {labels} | {family.series_max:,} | {family.about} |"


if __name__ == "__main__":
    sys.exit(main())
