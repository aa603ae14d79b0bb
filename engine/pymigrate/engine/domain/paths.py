"""How rows travel from a source to a target: the cheapest way that both sides offer, and why not a cheaper one.

The order is that of processor time a byte as `benchmarks/transfer.py` measures it. What a side does not offer it gives a reason for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class CopyPath(StrEnum):
    """A way, the cheapest first."""

    POSTGRES_BINARY = "postgres_binary"
    POSTGRES_TEXT = "postgres_text"
    CSV = "csv"
    ARROW = "arrow"


_SAID = {
    CopyPath.POSTGRES_BINARY: "rows pass as COPY's binary format from server to server, undecoded",
    CopyPath.POSTGRES_TEXT: "rows pass as COPY's text format, which the source's server writes",
    CopyPath.CSV: "records pass as they lie in the file, and are parsed beside it",
    CopyPath.ARROW: "rows pass as Arrow record batches",
}
PASSING = frozenset({CopyPath.POSTGRES_BINARY, CopyPath.POSTGRES_TEXT})


@dataclass(frozen=True, slots=True)
class Choice:
    """A path, with what it means and what kept a cheaper one from being taken."""

    path: CopyPath
    reason: str


def choose(source: Mapping[CopyPath, str], target: Mapping[CopyPath, str]) -> Choice:
    """The cheapest path that both sides offer. Each side names the paths that it knows, with an empty text for what it offers and a
    reason for what it can't; a path that only one side knows is no matter of the other."""
    passed_over: list[str] = []
    for path in CopyPath:
        if path is CopyPath.ARROW:
            break
        if path in source and path in target:
            if why := source[path] or target[path]:
                passed_over.append(f"not {path}, since {why}")
                continue
            return Choice(path, "; ".join([_SAID[path], *passed_over]))
    return Choice(CopyPath.ARROW, "; ".join([_SAID[CopyPath.ARROW], *passed_over]))
