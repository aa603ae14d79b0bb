"""Writes docs/types.md from the connectors, and tells whether what is committed is what they say."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from pymigrate.engine.adapters.connectors.type_matrix import SOURCES, TARGETS, SourceTypes, TargetTypes
from pymigrate.engine.domain.types import KINDS, ColumnType, Kind

PAGE = Path(__file__).resolve().parent.parent / "docs" / "types.md"
_HEAD = """\
# Types

Generated from the connectors by `python -m tools.types_page`; `make check` fails where it is not up to date. Every cell is tried by
`tests/integration/connectors/test_type_matrix.py`: values that systems like to spoil go from the real source into the real target, and both
are read by means of their own and compared.

A value arrives exactly, or as its text (`as text`), or is refused with the dataset, the column and the row. Nothing is rounded, cut or
replaced, and an empty text is never NULL. What is carried as text can be given a type in the definition (`source.columns.x.type`): then
every text is read strictly as that type. Between PostgreSQLs rows of tables pass undecoded (`postgres_binary`), with every type of
PostgreSQL's own as it is, infinite dates and all; views and columns with another type in the definition are decoded, as the second entry
says.

## PyMigrate's types in each target
"""
_LIMITS = """
Values that a target can't hold, and refuses with column and row:
"""


def main() -> int:
    """Write in place, or with --check only compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is not up to date")
    if parser.parse_args().check:
        if PAGE.read_text() != document():
            sys.stderr.write(f"{PAGE.name} is not what the connectors say: run python -m tools.types_page\n")
            return 1
        return 0
    PAGE.write_text(document())
    return 0


def document() -> str:
    """`docs/types.md`."""
    parts = [_HEAD]
    parts += [_target_table(), _LIMITS]
    for target in TARGETS:
        parts += [
            f"- **{target.title}**: {_refusals(target.refused)}"
            if target.refused
            else f"- **{target.title}**: every value."
        ]
    parts.append("")
    for source in SOURCES:
        parts += [_source_table(source), ""]
    return "\n".join(parts).rstrip() + "\n"


def _target_table() -> str:
    lines = [f"| PyMigrate | {' | '.join(target.title for target in TARGETS)} |", f"| --- |{' --- |' * len(TARGETS)}"]
    for kind in KINDS:
        column = ColumnType(kind, 12, 2) if kind == "decimal" else ColumnType(kind)
        cells = []
        for target in TARGETS:
            mark = ", as text" if kind in target.as_text else ""
            cells.append(f"`{target.native_type(column)}`{mark}")
        lines.append(f"| `{column}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _source_table(source: SourceTypes) -> str:
    has_wire = source.wire is not None
    head = ["type", "PyMigrate", *(target.title for target in TARGETS)]
    lines = [f"## From {source.title}", "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for native in source.natives:
        column = source.column_type(native)
        read = "as text" if source.is_text(native) else "exact"
        cells = [f"`{target.native_type(column)}`{_how(source, target, native, column)}" for target in TARGETS]
        if has_wire:
            passed = source.wire(native) if source.wire else native
            same = f"`{passed}`" + ("" if passed == native else ", as text")
            cells = [
                f"{same}; decoded {cell}" if target.kind == source.kind else cell
                for target, cell in zip(TARGETS, cells, strict=True)
            ]
        remark = f" ({source.remarks[native]})" if native in source.remarks else ""
        lines.append(f"| {_code(native)} | `{column}`, {read}{remark} | {' | '.join(cells)} |".replace("|,", "|"))
    if source.refused:
        lines += ["", f"Refused with column and row: {_refusals(source.refused)}"]
    return "\n".join(lines)


def _how(source: SourceTypes, target: TargetTypes, native: str, column: ColumnType) -> str:
    if source.is_text(native) or column.kind in target.as_text:
        return ", as text"
    return ""


def _refusals(refused: Mapping[Kind, str]) -> str:
    kinds: dict[str, list[str]] = {}
    for kind, what in refused.items():
        kinds.setdefault(what, []).append(f"`{kind}`")
    return "; ".join(f"of {', '.join(names)}: {what}" for what, names in kinds.items()) + "."


def _code(native: str) -> str:
    return native if native.startswith(("a ", "an ", "(")) else f"`{native}`"


if __name__ == "__main__":
    sys.exit(main())
