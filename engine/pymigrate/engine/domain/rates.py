"""How fast lanes may go: what a system's limit leaves for each of those that use it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """Bytes and rows a second; 0 is no limit."""

    bytes_per_second: float = 0.0
    rows_per_second: float = 0.0

    def shared(self, lanes: int) -> "Rate":
        """An equal share for each of so many lanes."""
        return Rate(self.bytes_per_second / max(lanes, 1), self.rows_per_second / max(lanes, 1))

    def tighter(self, other: "Rate") -> "Rate":
        """What both allow."""
        return Rate(
            _tighter(self.bytes_per_second, other.bytes_per_second),
            _tighter(self.rows_per_second, other.rows_per_second),
        )

    def seconds(self, size_bytes: int, rows: int) -> float:
        """How long so much takes at least."""
        return max(_seconds(size_bytes, self.bytes_per_second), _seconds(rows, self.rows_per_second))


FREE = Rate()


def _tighter(one: float, other: float) -> float:
    return min(one, other) if one and other else one or other


def _seconds(amount: int, per_second: float) -> float:
    return amount / per_second if per_second else 0.0
