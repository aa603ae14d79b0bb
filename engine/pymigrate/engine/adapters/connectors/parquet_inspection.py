"""Keys and references of Parquet files, asked of a DuckDB in memory that streams them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pymigrate.engine.adapters.connectors.target_inspection import Inspection
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.adapters.connectors.target_values import BATCH_ROWS_MAX
from pymigrate.engine.ports.connector import Dangling, ReferenceCheck

MEMORY_BYTES_MAX = 512 << 20
THREADS = 1
Rows = Sequence[Path] | Callable[[], pa.RecordBatchReader]


class ParquetInspection:
    """`files` with the columns that are asked about, and `others` that they refer to, as files or as what reads them anew.

    What does not fit into memory goes to `folder`.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        columns: Sequence[str],
        others: Rows = (),
        other_columns: Sequence[str] = (),
    ) -> None:
        self._sides: dict[str, tuple[Rows, Sequence[str]]] = {
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

    def __enter__(self) -> "ParquetInspection":
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
        types = list[pa.DataType]()
        for name, (files, columns) in self._sides.items():
            wanted = list(dict.fromkeys(columns))
            if callable(files):
                self._connection.register(name, files())
                continue
            # A side without files takes the other side's types, so that nothing is converted for the comparison.
            types = [pq.read_schema(files[0]).field(column).type for column in wanted] if files else types
            schema = pa.schema(list(zip(wanted, types, strict=False)))
            if wanted:
                self._connection.register(name, pa.RecordBatchReader.from_batches(schema, _batches(files, wanted)))
        return self._connection.execute(statement).fetchall()


def _batches(files: Sequence[Path], columns: list[str]) -> Iterator[pa.RecordBatch]:
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS_MAX, columns=columns, use_threads=False):
                yield pa.RecordBatch.from_arrays([batch.column(name) for name in columns], names=columns)
