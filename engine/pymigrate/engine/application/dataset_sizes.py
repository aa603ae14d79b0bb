"""How many rows and bytes a dataset has, from what was measured, what its source tells, what was declared and, at last, what is assumed.

What a source tells may be out of date, and so may a measurement: of two figures that do not go together the larger one is reckoned with,
unless the source has counted its rows.
"""

from dataclasses import dataclass

from pymigrate.engine.domain.durations import SPREADS, Basis
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2

ROWS_ASSUMED = 1_000_000
ROW_BYTES_ASSUMED = 100.0
STALE_SHARE = 0.5  # of two figures for the same rows; where one is less of the other, either is out of date
RECKONED_SPREAD = 0.20  # of rows that are reckoned from bytes, or of which two figures do not go together


@dataclass(frozen=True, slots=True)
class Size:
    """Rows and bytes, at least as they are assumed. `basis` is MEASURED where they are known or reckoned from what is; `spread` is the
    standard deviation of their logarithm, 0 where they are known; `unknowns` are sentences."""

    rows: int
    bytes: int
    basis: Basis = Basis.MEASURED
    spread: float = 0.0
    unknowns: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether it is more than an assumption."""
        return self.basis is not Basis.ASSUMED

    @property
    def row_bytes(self) -> float:
        """Bytes of a row."""
        return self.bytes / self.rows if self.rows else ROW_BYTES_ASSUMED


def size_of(
    dataset: plan_pb2.Dataset, measure: impact_pb2.DatasetMeasure | None, look: run_pb2.Inspection | None
) -> Size:
    """The size from the surest that there is. `look` is what the source tells now."""
    told_rows = look.source.rows if look is not None and look.HasField("source") else -1
    told_bytes = look.source.bytes if look is not None and look.HasField("source") else -1
    measured, row_bytes = measured_rows(measure) if measure is not None else -1, _row_bytes(measure, look)
    relation, declared = dataset.source.relation, dataset.declared
    if measure is not None and look is not None and is_out_of_date(measure, look):
        rows = told_rows if look.source.is_exact_rows else max(told_rows, measured)
        said = f"{measured:,} when it was measured, {told_rows:,} as its source tells now"
        return _doubtful(rows, round(rows * row_bytes), Basis.MEASURED, f"the rows of {relation}: {said}")
    if told_rows >= 0 or measured >= 0:
        is_counted = measure is not None and measure.is_whole and not (look is not None and look.source.is_exact_rows)
        rows = measured if is_counted or told_rows < 0 else told_rows
        return Size(rows, round(rows * row_bytes))
    if declared.rows:
        is_measured = measure is not None and measure.rows > 0 and measure.bytes > 0
        size = 0 if is_measured else max(told_bytes, 0) or declared.bytes
        said = f"the rows of {relation}: {declared.rows:,} were declared"
        return _doubtful(declared.rows, size or round(declared.rows * row_bytes), Basis.DECLARED, said)
    if told_bytes > 0:
        rows = round(told_bytes / row_bytes)
        said = f"the rows of {relation}: about {rows:,} were reckoned from its {told_bytes:,} bytes"
        return _doubtful(rows, told_bytes, Basis.MEASURED, said)
    if declared.bytes:
        said = f"the rows of {relation}: {declared.bytes:,} bytes were declared"
        return _doubtful(round(declared.bytes / row_bytes), declared.bytes, Basis.DECLARED, said)
    said = f"the rows of {relation}: {ROWS_ASSUMED:,} are assumed; declare its size, or let it be measured"
    return _doubtful(ROWS_ASSUMED, round(ROWS_ASSUMED * row_bytes), Basis.ASSUMED, said)


def measured_rows(measure: impact_pb2.DatasetMeasure) -> int:
    """The rows that a measurement found; -1 where it does not tell."""
    return measure.rows if measure.rows > 0 or measure.is_whole else -1


def is_out_of_date(measure: impact_pb2.DatasetMeasure, look: run_pb2.Inspection) -> bool:
    """Whether a source tells of so many more or fewer rows than were measured that both can't hold."""
    told, measured = look.source.rows if look.HasField("source") else -1, measured_rows(measure)
    return min(told, measured) >= 0 and min(told, measured) < STALE_SHARE * max(told, measured)


def _doubtful(rows: int, size: int, basis: Basis, why: str) -> Size:
    return Size(rows, size, basis, RECKONED_SPREAD if basis is Basis.MEASURED else SPREADS[basis], (why,))


def _row_bytes(measure: impact_pb2.DatasetMeasure | None, look: run_pb2.Inspection | None) -> float:
    if measure is not None and measure.rows > 0 and measure.bytes > 0:
        return measure.bytes / measure.rows
    if look is not None and look.source.rows > 0 and look.source.bytes > 0:
        return look.source.bytes / look.source.rows
    return ROW_BYTES_ASSUMED
