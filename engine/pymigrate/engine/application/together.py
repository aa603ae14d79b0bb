"""Lanes that are probed at once, to see how they disturb each other: which ones, and how many times slower each dataset's are."""

import statistics
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pymigrate.engine.application.inspections import DatasetPlace
from pymigrate.engine.application.probed_measures import Sample, row_seconds
from pymigrate.v1 import run_pb2

LANES_MAX = 64
TOGETHER_SECONDS_MIN = 0.3


@dataclass(frozen=True, slots=True)
class Lane:
    """A part of a dataset's source, in the source's own words; empty: from its start. Its number, from 1, is one among the dataset's."""

    place: DatasetPlace
    number: int
    range: str


def lanes_together(revision: run_pb2.PlanRevision, places: Sequence[DatasetPlace], lanes_max: int) -> list[Lane]:
    """At most so many lanes, one of each dataset in turn, within what the plan and its connections allow at once."""
    waiting = deque((place, deque(_lanes(revision, place))) for place in places)
    used: Counter[str] = Counter()
    chosen: list[Lane] = []
    most = min(lanes_max, LANES_MAX, revision.plan.lanes_max or LANES_MAX)
    while waiting and len(chosen) < most:
        place, left = waiting.popleft()
        phase, dataset = place
        sides = revision.plan.phases[phase].datasets[dataset]
        connections = {sides.source.connection, sides.target.connection}
        limits = [(used[name], revision.connections[name].lanes_max) for name in connections]
        if not left or any(limit and count >= limit for count, limit in limits):
            continue
        used.update(connections)
        chosen.append(left.popleft())
        waiting.append((place, left))
    return chosen


def slowdowns_of(
    lanes: Sequence[Lane], samples: Sequence[Sample], alone: Mapping[DatasetPlace, float]
) -> dict[DatasetPlace, float]:
    """How many times longer a row took than alone, at least once, by dataset: the mean of its lanes. What counts is the time in which
    all of them copied; where there was too little of it, all of each lane."""
    found = _while_together(samples) or [row_seconds(sample.found) for sample in samples]
    factors: dict[DatasetPlace, list[float]] = {}
    for lane, seconds in zip(lanes, found, strict=True):
        if seconds > 0:
            factors.setdefault(lane.place, []).append(seconds / alone[lane.place])
    return {place: max(1.0, statistics.fmean(each)) for place, each in factors.items()}


def _while_together(samples: Sequence[Sample]) -> list[float]:
    """How long each lane took for a row while all of them copied; nothing where that was too short."""
    spans = [sample.spans() for sample in samples]
    if not all(spans):
        return []
    begin, end = max(each[0][0] for each in spans), min(each[-1][1] for each in spans)
    if end - begin < TOGETHER_SECONDS_MIN:
        return []
    rows = [sum(_share(span, begin, end) for span in each) for each in spans]
    return [(end - begin) / each for each in rows] if all(rows) else []


def _share(span: tuple[float, float, int], begin: float, end: float) -> float:
    """The rows of a chunk that came in a time, if they came evenly."""
    since, until, rows = span
    inside = min(until, end) - max(since, begin)
    return rows * inside / (until - since) if inside > 0 and until > since else 0.0


def _lanes(revision: run_pb2.PlanRevision, place: DatasetPlace) -> list[Lane]:
    ranges = revision.inspections["/".join(place)].ranges or [""]
    return [Lane(place, number, part) for number, part in enumerate(ranges, start=1)]
