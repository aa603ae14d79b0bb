"""Measures datasets by probes: real copies of samples, which worker hosts make, within a time, never in a blackout, and no faster than
the connections' limits.

The largest datasets come first, each alone: a chunk, and then as much as its share of the time allows. What is left of the time shows how
lanes disturb each other: as many at once as a run would have, and half as many.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pymigrate.engine.application import works
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.inspections import DatasetPlace
from pymigrate.engine.application.limits import is_held_back, rate_of
from pymigrate.engine.application.probed_measures import Sample, measure_of
from pymigrate.engine.application.revisions import phase_hash
from pymigrate.engine.application.schedules import calendar_of, schedules_of
from pymigrate.engine.application.together import Lane, lanes_together, slowdowns_of
from pymigrate.engine.domain.calendar import Calendar
from pymigrate.engine.domain.errors import EngineUnavailable, PyMigrateError
from pymigrate.engine.domain.names import at_environment
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2, worker_pb2

ALONE_SHARE = 0.6  # of the time, where lanes are going to be probed together
PLACE_SECONDS_MIN = 1.0
COPY_SECONDS_MIN = 0.2
COPY_SHARE_MIN = 0.3  # of what a dataset has: the rest is for comparing, publishing and dropping what was copied
GRACE_SECONDS = 30.0  # for a probe to end that has begun
DROP_SECONDS_MAX = 30.0
ONE_CHUNK_BYTES = 1
NOTHING = impact_pb2.DatasetMeasure()
SINGLE = 1


@dataclass(slots=True)
class Measurements:
    """What was measured, and what could not be, as sentences: of each dataset, and of the plan. `seconds` is how long it took."""

    measures: dict[DatasetPlace, impact_pb2.DatasetMeasure] = field(default_factory=dict)
    unknowns: dict[DatasetPlace, list[str]] = field(default_factory=dict)
    plan_unknowns: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def miss(self, place: DatasetPlace, why: str) -> None:
        """Something is not known of a dataset."""
        self.unknowns.setdefault(place, []).append(why)


class Probing:
    """Asks worker hosts for probes."""

    def __init__(self, inquiries: Inquiries, clock: Clock) -> None:
        self._inquiries = inquiries
        self._clock = clock

    async def measure(
        self,
        revision: run_pb2.PlanRevision,
        places: Sequence[DatasetPlace],
        seconds_max: float,
        known: Mapping[DatasetPlace, impact_pb2.DatasetMeasure],
        lanes_at_once: int,
    ) -> Measurements:
        """A measurement of each place, or why there is none. What is `known` is taken over; only how lanes disturb each other may be
        measured anew of it. The revision is inspected; places that are not are told as unknown. Raises nothing that a system, a host or
        the time is to blame for."""
        found = Measurements({place: _copied(known[place]) for place in places if place in known})
        session = _Session(self._inquiries, self._clock, revision, found, seconds_max)
        ordered = session.ordered(places)
        inspected = [place for place in ordered if session.is_inspected(place)]
        wanted = [place for place in inspected if place not in found.measures]
        for place in ordered:
            if not session.is_inspected(place) and place not in found.measures:
                found.miss(place, "how long it takes: it could not be looked at")
        is_shared = len(lanes_together(revision, inspected, lanes_at_once)) > 1
        begun = self._clock.monotonic()
        await session.probe_alone(wanted, ALONE_SHARE if is_shared else 1.0)
        measured = [place for place in inspected if found.measures.get(place, NOTHING).copy.row_seconds > 0]
        await session.probe_together(lanes_together(revision, measured, lanes_at_once))
        found.seconds = self._clock.monotonic() - begun
        return found


class _Session:
    """One measuring, which ends at a moment."""

    def __init__(
        self,
        inquiries: Inquiries,
        clock: Clock,
        revision: run_pb2.PlanRevision,
        found: Measurements,
        seconds_max: float,
    ) -> None:
        self._inquiries = inquiries
        self._clock = clock
        self._revision = revision
        self._found = found
        self._begun = clock.monotonic()
        self._end = self._begun + max(0.0, seconds_max)
        self._warm: set[tuple[str, str, str]] = set()

    def ordered(self, places: Sequence[DatasetPlace]) -> list[DatasetPlace]:
        """The largest first; one of each kind of path and pair of connections before the second of any."""
        seen: dict[tuple[str, str, str], int] = {}
        ranked = []
        for place in sorted(places, key=lambda each: (-self._bytes(each), each)):
            kind = self._kind(place)
            seen[kind] = seen.get(kind, 0) + 1
            ranked.append((seen[kind] > 1, place))
        return [place for _, place in sorted(ranked, key=lambda each: each[0])]

    def is_inspected(self, place: DatasetPlace) -> bool:
        """Whether what it looks like is known."""
        return _name(place) in self._revision.inspections and bool(self._look(place).path)

    async def probe_alone(self, places: Sequence[DatasetPlace], share: float) -> None:
        """One after the other, as long as the share of the time lasts."""
        end = self._begun + (self._end - self._begun) * share
        for at, place in enumerate(places):
            if (until := self._shut(place)) is not None:
                self._found.miss(place, until)
                continue
            left = end - self._clock.monotonic()
            if left <= 0:
                self._found.miss(place, "how long it takes: there was no time to probe it")
                continue
            seconds = max(left / (len(places) - at), min(left, PLACE_SECONDS_MIN))
            try:
                samples = await self._samples(place, seconds)
            except PyMigrateError as error:
                self._found.miss(place, f"how long it takes: {error.message}")
                continue
            self._found.measures[place] = self._measure(place, samples)

    async def probe_together(self, lanes: Sequence[Lane]) -> None:
        """As many at once as there are lanes, and half as many; what is known of so many is not measured again."""
        rounds = [
            count
            for count in sorted({len(lanes), len(lanes) // 2} - {0, SINGLE}, reverse=True)
            if any(count not in self._found.measures[lane.place].slowdowns for lane in lanes[:count])
        ]
        for at, count in enumerate(rounds):
            left = self._end - self._clock.monotonic()
            if why := await self._round(lanes[:count], left, left / (len(rounds) - at)):
                self._found.plan_unknowns.append(f"how {count} lanes disturb each other: {why}")

    async def _round(self, lanes: Sequence[Lane], left: float, share: float) -> str:
        """Why nothing was measured; empty where it was. Where a share of what is left is too short, all of it is taken."""
        fixed = max(self._found.measures[lane.place].copy.fixed_seconds for lane in lanes)
        seconds = share if share - fixed >= COPY_SECONDS_MIN else left
        if seconds - fixed < COPY_SECONDS_MIN:
            return "there was no time to probe them"
        if any(self._shut(lane.place) for lane in lanes):
            return "nothing is probed in a blackout"
        answers = await asyncio.gather(
            *(self._lane(lane, lanes, max(COPY_SECONDS_MIN, seconds - 2 * fixed)) for lane in lanes),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, PyMigrateError):
                return answer.message
            if isinstance(answer, BaseException):
                raise answer
        alone = {lane.place: self._found.measures[lane.place].copy for lane in lanes}
        probed = [answer for answer in answers if isinstance(answer, Sample)]
        for place, factor in slowdowns_of(lanes, probed, alone).items():
            if not self._is_held_back(
                place
            ):  # then it is the limit that was measured, which a rehearsal shares out itself
                self._found.measures[place].slowdowns[len(lanes)] = factor
        return ""

    def _is_held_back(self, place: DatasetPlace) -> bool:
        """Whether a lane alone goes about as fast as the limits of its connections allow."""
        measure, sides = self._found.measures[place], self._sides(place)
        rates = [rate_of(self._revision.connections[name]) for name in sides]
        alone = measure.copy.row_seconds * measure.rows
        return is_held_back(rates[0].tighter(rates[1]), measure.bytes, measure.rows, alone)

    async def _lane(self, lane: Lane, all_lanes: Sequence[Lane], seconds: float) -> Sample:
        work = works.probe_work(self._revision, *lane.place, lane.number)
        work.range, work.seconds_max, work.is_copy_alone = lane.range, seconds, True
        sides = self._sides(lane.place)
        on_source = sum(self._sides(other.place)[0] == sides[0] for other in all_lanes)
        on_target = sum(self._sides(other.place)[1] == sides[1] for other in all_lanes)
        return await self._ask(work, on_source, on_target)

    async def _samples(self, place: DatasetPlace, seconds: float) -> list[Sample]:
        """One chunk, and what the time allows. What a host does for the first time takes longer, and is done once more."""
        end = self._clock.monotonic() + seconds
        small = await self._probe(place, COPY_SECONDS_MIN, ONE_CHUNK_BYTES)
        if self._kind(place) not in self._warm and self._clock.monotonic() < end:
            small = await self._probe(place, COPY_SECONDS_MIN, ONE_CHUNK_BYTES)
        self._warm.add(self._kind(place))
        left = end - self._clock.monotonic()
        small.found.is_whole = self._is_whole(place, small)
        if small.found.is_whole or left <= small.found.task_seconds:
            return [small]
        spent = small.copy_seconds + small.after_seconds
        share = max(COPY_SHARE_MIN, small.copy_seconds / spent if spent > 0 else 1.0)
        try:
            large = await self._probe(place, max(COPY_SECONDS_MIN, (left - small.found.open_seconds) * share), 0)
        except PyMigrateError as error:
            self._found.miss(place, f"how long more than a chunk takes: {error.message}")
            return [small]
        return [small, large]

    async def _probe(self, place: DatasetPlace, seconds: float, bytes_max: int) -> Sample:
        work = works.probe_work(self._revision, *place, 0)
        work.seconds_max, work.bytes_max = seconds, bytes_max
        return await self._ask(work, SINGLE, SINGLE)

    async def _ask(self, work: worker_pb2.ProbeWork, source_lanes: int, target_lanes: int) -> Sample:
        """Raises what the host found wrong, and EngineUnavailable where it did not end in time."""
        sides = work.dataset
        affinity = at_environment(works.dataset_affinity(sides.source, sides.target), self._revision.plan.name)
        rate = rate_of(sides.source).shared(source_lanes).tighter(rate_of(sides.target).shared(target_lanes))
        task = worker_pb2.Task(
            probe=work,
            rate=worker_pb2.LaneRate(
                bytes_per_second_max=rate.bytes_per_second, rows_per_second_max=rate.rows_per_second
            ),
        )
        asked = self._clock.monotonic()
        try:
            answer = await self._inquiries.ask(task, affinity, work.seconds_max + GRACE_SECONDS)
        except EngineUnavailable:  # what a host tells itself it has cleared up before
            await self._drop(work, affinity)
            raise
        answered = self._clock.monotonic()
        return Sample(answer.probe, max(0.0, answered - asked - answer.probe.task_seconds), answered)

    async def _drop(self, work: worker_pb2.ProbeWork, affinity: str) -> None:
        """What a host left that is gone; where that fails, too, the next probe drops it."""
        rollback = worker_pb2.RollbackWork(datasets=[work.dataset])
        try:
            await self._inquiries.ask(worker_pb2.Task(rollback=rollback), affinity, DROP_SECONDS_MAX)
        except PyMigrateError as error:
            self._found.plan_unknowns.append(
                f"whether `{work.dataset.dataset.target.relation}` is dropped, which a probe has made: {error.message}"
            )

    def _measure(self, place: DatasetPlace, samples: Sequence[Sample]) -> impact_pb2.DatasetMeasure:
        measure = measure_of(self._look(place), samples)
        measure.hash = measured_hash(self._revision, place)
        measure.time.FromDatetime(self._clock.now())
        dataset = self._dataset(place)
        if dataset.target.load_mode in works.ADDING:
            measure.unknowns.append(
                "how long rows take to be added to those that are there: publishing was measured as a replacement"
            )
        if dataset.HasField("catch_up"):
            measure.unknowns.append("how long changes take to be brought in: the copy alone was probed")
        return measure

    def _shut(self, place: DatasetPlace) -> str | None:
        """Why nothing may be probed now; the time ends before a blackout begins."""
        now, left = self._clock.now(), self._end - self._clock.monotonic()
        for schedule in schedules_of(self._revision, place[0]):
            calendar = calendar_of(schedule)
            blackouts = Calendar(calendar.zone, (), calendar.blackouts)
            if not blackouts.is_open(now):
                return "how long it takes: nothing is probed in a blackout"
            change = blackouts.next_change(now)
            if change is not None and (change - now).total_seconds() < left:
                return "how long it takes: a blackout begins before a probe would have ended"
        return None

    def _is_whole(self, place: DatasetPlace, sample: Sample) -> bool:
        source = self._look(place).source
        return sample.found.is_whole or (source.is_exact_rows and 0 <= source.rows <= sample.rows)

    def _bytes(self, place: DatasetPlace) -> int:
        return self._look(place).source.bytes if _name(place) in self._revision.inspections else 0

    def _kind(self, place: DatasetPlace) -> tuple[str, str, str]:
        path = self._look(place).path if _name(place) in self._revision.inspections else ""
        return (path, *self._sides(place))

    def _sides(self, place: DatasetPlace) -> tuple[str, str]:
        dataset = self._dataset(place)
        return dataset.source.connection, dataset.target.connection

    def _dataset(self, place: DatasetPlace) -> plan_pb2.Dataset:
        return self._revision.plan.phases[place[0]].datasets[place[1]]

    def _look(self, place: DatasetPlace) -> run_pb2.Inspection:
        return self._revision.inspections[_name(place)]


def measured_hash(revision: run_pb2.PlanRevision, place: DatasetPlace) -> str:
    """Tells what was measured from what has changed since: the dataset and its connections."""
    phase, dataset = place
    only = plan_pb2.Phase(datasets={dataset: revision.plan.phases[phase].datasets[dataset]})
    return phase_hash(only, revision.connections)


def _name(place: DatasetPlace) -> str:
    return "/".join(place)


def _copied(measure: impact_pb2.DatasetMeasure) -> impact_pb2.DatasetMeasure:
    copy = impact_pb2.DatasetMeasure()
    copy.CopyFrom(measure)
    return copy
