"""From what probes of a dataset found to how long its steps take: `fixed_seconds`, and `row_seconds` for each row.

Copying is read from the chunks of the longest probe; those at its start are left to what is fixed, since connections and queries begin with
them and they are smaller. Comparing and publishing are read from two probes of different size: the difference is what rows cost.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pymigrate.v1 import impact_pb2, run_pb2, worker_pb2

STARTING_CHUNKS = 2
SPREAD_CHUNKS_MIN = 3
POINTS_APART_MIN = 1.5  # how many times the rows of one probe the other must have for a difference to say anything
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Sample:
    """What a probe found, how long its answer took beyond the task itself, and when it came, in seconds of a monotonic clock."""

    found: worker_pb2.Probed
    turnaround_seconds: float
    answered_seconds: float = 0.0

    @property
    def rows(self) -> int:
        """Rows that were copied."""
        return sum(chunk.rows for chunk in self.found.chunks)

    def span(self, answer_seconds: float) -> tuple[float, float]:
        """When its lane was opened and when it was closed, on the same clock, where answers take so long."""
        found = self.found
        end = self.answered_seconds - answer_seconds - max(0.0, found.drop_seconds)
        return end - found.open_seconds - self.copy_seconds - found.close_seconds, end

    @property
    def copy_seconds(self) -> float:
        """From the first chunk's asking to the last one's commit."""
        return sum(chunk.seconds for chunk in self.found.chunks)

    @property
    def after_seconds(self) -> float:
        """What came after copying."""
        found = self.found
        return found.close_seconds + sum(
            max(0.0, each) for each in (found.verify_seconds, found.publish_seconds, found.drop_seconds)
        )


def row_seconds(found: worker_pb2.Probed) -> float:
    """How long a lane took for each row once it was going; 0 without rows."""
    chunks = _steady(found)
    rows = sum(chunk.rows for chunk in chunks)
    return sum(chunk.seconds for chunk in chunks) / rows if rows else 0.0


def measure_of(look: run_pb2.Inspection, samples: Sequence[Sample]) -> impact_pb2.DatasetMeasure:
    """What the probes of a dataset say, at least one, the longest last. What it was measured of and when is the caller's to add."""
    last = samples[-1]
    size, unknowns = _size(look, last), list(dict.fromkeys(note for each in samples for note in each.found.notes))
    rows, measured_bytes = size
    chunks = _steady(last.found)
    measure = impact_pb2.DatasetMeasure(
        rows=rows,
        bytes=measured_bytes,
        copy=_copy(last),
        chunk_rows=sum(chunk.rows for chunk in chunks) / len(chunks) if chunks else 0.0,
        target_row_bytes=_target_row_bytes(samples),
        is_whole=last.found.is_whole,
        source_share=_source_share(chunks),
        path=look.path,
        path_reason=look.path_reason,
        lanes=max(1, len(look.ranges)),
        turnaround_seconds=min(each.turnaround_seconds for each in samples),
    )
    for step, seconds in (
        ("comparing", [(each.rows, each.found.verify_seconds) for each in samples]),
        ("publishing", [(each.rows, each.found.publish_seconds) for each in samples]),
    ):
        points = [(at, value) for at, value in seconds if value >= 0]
        found, is_told_apart = _line(points)
        (measure.verify if step == "comparing" else measure.publish).CopyFrom(found)
        if not points:
            unknowns.append(f"how long {step} takes")
        elif not is_told_apart and not last.found.is_whole:
            unknowns.append(f"how {step} grows with rows: one sample is all that there was time for")
    if rows == UNKNOWN:
        unknowns.append("how many rows there are: the source does not tell")
    elif 0 <= look.source.rows < last.rows and not last.found.is_whole:
        unknowns.append(
            f"how many rows there are: the source tells of {look.source.rows:,}, and a sample alone had {last.rows:,}"
        )
    elif look.source.rows < 0 and not last.found.is_whole:
        unknowns.append(
            "how many rows there are: they are reckoned from the size of the source and of the sample's rows"
        )
    if not look.is_target_present:
        measure.replaced_bytes = 0
    elif measure.target_row_bytes:
        measure.replaced_bytes = round(look.target_rows * measure.target_row_bytes)
    else:
        measure.replaced_bytes = UNKNOWN
    measure.unknowns.extend(unknowns)
    return measure


def _steady(found: worker_pb2.Probed) -> Sequence[worker_pb2.ProbedChunk]:
    """The chunks after those at the start; all where there are no others."""
    return found.chunks[min(STARTING_CHUNKS, max(0, len(found.chunks) - 1)) :]


def _copy(sample: Sample) -> impact_pb2.StepMeasure:
    each_row = row_seconds(sample.found)
    starting = sample.copy_seconds - each_row * sample.rows
    fixed = sample.found.open_seconds + sample.found.close_seconds + starting
    return impact_pb2.StepMeasure(fixed_seconds=max(0.0, fixed), row_seconds=each_row, spread=_spread(sample.found))


def _spread(found: worker_pb2.Probed) -> float:
    """The standard deviation of the logarithm of what rows took, chunk by chunk."""
    logarithms = [math.log(chunk.seconds / chunk.rows) for chunk in _steady(found) if chunk.rows and chunk.seconds > 0]
    return statistics.stdev(logarithms) if len(logarithms) >= SPREAD_CHUNKS_MIN else 0.0


def _line(points: Sequence[tuple[int, float]]) -> tuple[impact_pb2.StepMeasure, bool]:
    """Through the point of the fewest rows and that of the most, and whether they lie apart. A single one counts half as fixed."""
    if not points:
        return impact_pb2.StepMeasure(), False
    (few, low), (many, high) = min(points), max(points)
    if few and many / few < POINTS_APART_MIN:
        fixed = high / 2
        return impact_pb2.StepMeasure(fixed_seconds=fixed, row_seconds=(high - fixed) / many), False
    if not many:
        return impact_pb2.StepMeasure(fixed_seconds=high), False
    each_row = max(0.0, high - low) / (many - few)
    return impact_pb2.StepMeasure(fixed_seconds=max(0.0, high - each_row * many), row_seconds=each_row), True


def _size(look: run_pb2.Inspection, sample: Sample) -> tuple[int, int]:
    """Rows and bytes of the source."""
    copied = sum(chunk.bytes for chunk in sample.found.chunks)
    if sample.found.is_whole:
        return sample.rows, copied
    row_bytes = copied / sample.rows if sample.rows else 0.0
    if look.source.rows >= sample.rows:
        return look.source.rows, round(look.source.rows * row_bytes) if row_bytes else look.source.bytes
    if look.source.bytes >= 0 and row_bytes:
        return max(sample.rows, round(look.source.bytes / row_bytes)), max(copied, look.source.bytes)
    if look.source.rows >= 0:
        return sample.rows, copied
    return UNKNOWN, look.source.bytes


def _target_row_bytes(samples: Sequence[Sample]) -> float:
    """Of the longest sample of which it is known; 0 where of none."""
    known = [each for each in samples if each.found.target_bytes >= 0 and each.rows]
    return known[-1].found.target_bytes / known[-1].rows if known else 0.0


def _source_share(chunks: Sequence[worker_pb2.ProbedChunk]) -> float:
    seconds = sum(chunk.seconds for chunk in chunks)
    return min(1.0, sum(chunk.source_seconds for chunk in chunks) / seconds) if seconds > 0 else 0.0
