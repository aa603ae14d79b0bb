"""Lanes that are probed at once, to see how they disturb each other: which ones, and how many times slower each dataset's are."""

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from pymigrate.engine.application.inspections import DatasetPlace
from pymigrate.engine.application.probed_measures import Sample, row_seconds
from pymigrate.v1 import impact_pb2, run_pb2

LANES_MAX = 64
MET_SECONDS_MIN = 0.3
HALVINGS = 60


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
    lanes: Sequence[Lane], samples: Sequence[Sample], alone: Mapping[DatasetPlace, impact_pb2.StepMeasure]
) -> dict[DatasetPlace, float]:
    """How many times longer than alone lanes take while all of them are under way, at least once, by dataset.

    Lanes begin and end one after another, so that each was disturbed by ever other numbers of them. A rehearsal interpolates between one
    lane and all of them: what is told is that slowdown with which it would have copied in this time what was copied. Where they met too
    shortly for opening and closing to say anything, rows alone are compared. No more is told than that lanes take turns: what is beyond
    that, such as a host that starts, is no disturbance of theirs.
    """
    answer_seconds = min(sample.turnaround_seconds for sample in samples) / 2
    spans = [sample.span(answer_seconds) for sample in samples]
    moments = sorted({moment for span in spans for moment in span})
    at_work = [
        (until - since, [at for at, span in enumerate(spans) if span[0] <= since and until <= span[1]])
        for since, until in pairwise(moments)
    ]
    met_seconds = sum(seconds for seconds, at in at_work if len(at) > 1)
    found = {}
    for place in dict.fromkeys(lane.place for lane in lanes):
        own = {at for at, lane in enumerate(lanes) if lane.place == place}
        if met_seconds < MET_SECONDS_MIN:
            ratios = [row_seconds(samples[at].found) / alone[place].row_seconds for at in own]
            found[place] = min(max(1.0, fmean(ratios)), float(len(lanes)))
            continue
        work = sum(alone[place].fixed_seconds + alone[place].row_seconds * samples[at].rows for at in own)
        shares = [(seconds * len(own.intersection(at)), (len(at) - 1) / (len(lanes) - 1)) for seconds, at in at_work]
        found[place] = _slowdown(work, shares, float(len(lanes)))
    return found


def _slowdown(work: float, shares: Sequence[tuple[float, float]], slowdown_max: float) -> float:
    """The slowdown with which so many seconds of work are done in `shares`: the seconds of lanes at work, and which part of the way from
    one lane to all of them there were. Between 1 and `slowdown_max`."""
    low, high = 1.0, slowdown_max
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        done = sum(seconds / (1.0 + (middle - 1.0) * part) for seconds, part in shares)
        low, high = (middle, high) if done > work else (low, middle)
    return low


def _lanes(revision: run_pb2.PlanRevision, place: DatasetPlace) -> list[Lane]:
    ranges = revision.inspections["/".join(place)].ranges or [""]
    return [Lane(place, number, part) for number, part in enumerate(ranges, start=1)]
