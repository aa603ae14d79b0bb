"""What a format's reader gives of a file, or of several as one."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from pymigrate.engine.domain.errors import FailedPrecondition, Problem
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.source import SourceChunk


class Reader(Protocol):
    """Files of one format."""

    def columns(self) -> tuple[ColumnInfo, ...]:
        """Its columns in order."""
        ...

    def declared(self, name: str, kind: ColumnType) -> Problem | None:
        """What is wrong with declaring that type for the column."""
        ...

    def rows(self) -> int:
        """Its rows, or UNKNOWN."""
        ...

    def split(self, parts: int) -> Sequence[Position]:
        """Positions that divide it into at most so many parts."""
        ...

    def chunks(self, columns: Sequence[ColumnInfo], chunk_bytes: int, span: SourceRange) -> Iterator[SourceChunk]:
        """Its rows of a range."""
        ...


@runtime_checkable
class PassingReader(Protocol):
    """What gives its records as they lie in the file, too."""

    def passing_chunks(
        self, columns: Sequence[ColumnInfo], chunk_bytes: int, span: SourceRange
    ) -> Iterator[SourceChunk]:
        """As `chunks`, with pieces."""
        ...


def passing(reader: object) -> PassingReader:
    """The reader, where it passes records. Raises FailedPrecondition where it does not."""
    if not isinstance(reader, PassingReader):
        raise FailedPrecondition("the file is no longer CSV, whose records were to pass: start another run")
    return reader
