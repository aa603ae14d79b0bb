"""What may be declared of a dataset's size and speed, which impact analysis uses where nothing can be measured."""

from collections.abc import Iterator

from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import plan_pb2

ROW_BYTES_MAX = 1_000_000_000
BYTES_PER_SECOND_MAX = 100_000_000_000


def declared_problems(path: str, declared: plan_pb2.DeclaredFigures) -> Iterator[Problem]:
    """Problems of declared figures whose field is `path`."""
    for field, value in (("rows", declared.rows), ("bytes", declared.bytes)):
        if value < 0:
            yield Problem(f"{path}.{field}", "can't be negative; 0 means that it is not known")
    if declared.rows > 0 and declared.bytes / declared.rows > ROW_BYTES_MAX:
        yield Problem(
            f"{path}.bytes",
            f"{declared.bytes:,} bytes in {declared.rows:,} rows are more than {ROW_BYTES_MAX:,} a row: correct either",
        )
    if not 0 <= declared.bytes_per_second <= BYTES_PER_SECOND_MAX:
        yield Problem(f"{path}.bytes_per_second", f"must be a number from 0 to {BYTES_PER_SECOND_MAX:,}; 0: not known")
