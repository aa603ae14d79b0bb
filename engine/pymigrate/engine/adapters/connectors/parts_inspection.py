"""Keys and references of parts, asked of a DuckDB in memory that streams them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import duckdb
import pyarrow as pa

from pymigrate.engine.adapters.connectors.part_formats import read_parts
from pymigrate.engine.adapters.connectors.target_inspection import Inspection
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.staging import Dangling, ReferenceCheck

MEMORY_BYTES_MAX = 512 << 20
THREADS = 1
Rows = Sequence[Path] | Callable[[], pa.RecordBatchReader]


class PartsInspection:
    """`files` with the columns that are asked about, and `others` that they refer to, as files or as what reads them anew.

    What does not fit into memory goes to `folder`.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        columns: Sequence[ColumnInfo],
        others: Rows = (),
        other_columns: Sequence[ColumnInfo] = (),
    ) -> None:
        self._sides: dict[str, tuple[Rows, Sequence[ColumnInfo]]] = {
            "staged": (files, columns),
            "referenced": (others, other_columns),
        }
        self._connection = duckdb.connect(
            config={
                "memory_limit": f"{MEMORY_BYTES_MAX}B",
                "threads": THREADS,
                "temp_directory": str(folder / "spill"),
                "autoinstall_known_extensions": False,
            }
        )
        self._inspection = Inspection(self._query, lambda expression: f"CAST({expression} AS VARCHAR)")

    def __enter__(self) -> "PartsInspection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def duplicate_keys(self, key: Sequence[str]) -> tuple[int, tuple[str, ...]]:
        """See the port."""
        return self._inspection.duplicate_keys("staged", key) if self._sides["staged"][0] else (0, ())

    def present_keys(self, key: Sequence[str]) -> tuple[int, tuple[str, ...]]:
        """How many staged rows have a key that the other files hold, and some of those keys."""
        names = [quote(name) for name in key]
        columns = ", ".join(f"s.{name}" for name in names)
        pairs = " AND ".join(f"s.{name} = r.{name}" for name in names)
        return self._inspection.sample(f"SELECT {columns} FROM staged AS s SEMI JOIN referenced AS r ON {pairs}", names)

    def dangling(self, reference: ReferenceCheck) -> Dangling:
        """See the port."""
        return (
            self._inspection.dangling("staged", reference, "referenced")
            if self._sides["staged"][0]
            else Dangling(0, 0, ())
        )

    def _query(self, statement: str) -> list[tuple[object, ...]]:
        for name, (files, columns) in self._sides.items():
            if callable(files):
                self._connection.register(name, files())
                continue
            wanted = list({column.name: column for column in columns}.values())
            if wanted:
                batches = read_parts(files, wanted)
                self._connection.register(name, pa.RecordBatchReader.from_batches(arrow_schema(wanted), batches))
        return self._connection.execute(statement).fetchall()
