"""The trail as it is exported: in the order of the feed, so that none is missed where many write, each seal behind what it seals, and with
everything that is needed to verify it elsewhere. A page is in memory at a time; it is read and written on a thread of the store's."""

from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from pymigrate.engine.application.audit.asked_times import moment_of
from pymigrate.engine.application.audit.event_messages import moment_text
from pymigrate.engine.application.audit.export_tokens import ExportPlace, resumed_place
from pymigrate.engine.application.audit.seal_messages import head_data, seal_data
from pymigrate.engine.application.audit.trail_lines import (
    BASE,
    FORMAT_NAME,
    FORMAT_VERSION,
    HEADER,
    HEADS,
    POSITION,
    SEAL,
    CloudEventLines,
    JsonLines,
    LineForm,
)
from pymigrate.engine.domain.audit_chain import Seal
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import matches
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.feed import FeedEntry, Position, read_position
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import audit_pb2

PIECE_BYTES_MAX = 256 * 1024
# What a piece ends with: a position with its token.
POSITION_BYTES_MAX = 4 * 1024
SEALS_PAGE = 100
# Before the name of a chain whose base was told, since a name may be empty.
TOLD = "="

Line = tuple[bytes, ExportPlace]


@dataclass(frozen=True, slots=True)
class Part:
    """What of the trail is exported: everything, or what lies in an environment or between two times."""

    environment: str = ""
    start: datetime | None = None
    end: datetime | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it can be verified elsewhere."""
        return not self.environment and self.start is None and self.end is None

    def has(self, entry: FeedEntry) -> bool:
        """Whether an entry is part of it."""
        if self.environment and not f"{entry.subject}/".startswith(f"{self.environment}/"):
            return False
        return (self.start is None or entry.time >= self.start) and (self.end is None or entry.time < self.end)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is told and read at once."""

    piece_bytes_max: int = PIECE_BYTES_MAX
    entries_page: int = 500
    heads_per_line_max: int = 500


class AuditExport:
    """The use case behind ExportAudit. `public_key` is the PEM of what seals are signed with, `instance` what this engine is called
    outside."""

    def __init__(
        self, store: Store, clock: Clock, public_key: str, instance: str, bounds: Bounds | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._public_key = public_key
        self._instance = instance
        self._bounds = bounds or Bounds()

    async def export(
        self, request: audit_pb2.ExportAuditRequest
    ) -> AsyncGenerator[audit_pb2.ExportAuditResponse, None]:
        """The pieces, up to what there is now. Raises InvalidDefinition for a part that is none, or a token that is not of this export."""
        part, place = _part(request), resumed_place(request)
        is_cloud_events = request.format == audit_pb2.AUDIT_FORMAT_CLOUD_EVENTS
        form: LineForm = CloudEventLines(self._instance) if is_cloud_events else JsonLines()
        end = await self._store.read(lambda unit: unit.feed.end())
        reading = _Reading(form, part, read_position(end), self._bounds)
        pieces = _Pieces(form, place, self._bounds.piece_bytes_max - POSITION_BYTES_MAX)
        if not request.resume_token:
            pieces.add(form.other(HEADER, self._header(part)), place)
        while True:
            page = await self._store.read(partial(reading.page, place))
            for line, after in page.lines:
                if (piece := pieces.add(line, after)) is not None:
                    yield piece
            place = page.reached
            if page.is_last:
                yield pieces.last(place)
                return

    def _header(self, part: Part) -> dict[str, Any]:
        known: dict[str, Any] = {
            "format": FORMAT_NAME,
            "formatVersion": FORMAT_VERSION,
            "instance": self._instance,
            "time": moment_text(self._clock.now()),
            "publicKey": self._public_key,
            "environment": part.environment,
            "startTime": "" if part.start is None else moment_text(part.start),
            "endTime": "" if part.end is None else moment_text(part.end),
        }
        return {name: value for name, value in known.items() if value}


@dataclass(frozen=True, slots=True)
class _Page:
    lines: Sequence[Line]
    reached: ExportPlace
    is_last: bool = False


class _Reading:
    """Reads pages of a part of the trail up to `end`. Each line comes with the place behind it."""

    def __init__(self, form: LineForm, part: Part, end: Position, bounds: Bounds) -> None:
        self._form = form
        self._part = part
        self._end = end
        self._bounds = bounds

    def page(self, place: ExportPlace, unit: Unit) -> _Page:
        """The next page."""
        if place.base is not None and self._part.is_whole:
            return self._bases(unit, place)
        found, _ = unit.feed.after(place.cursor, self._bounds.entries_page)
        entries = [entry for entry in found if read_position(entry.position) <= self._end]
        upcoming = _Upcoming(unit, place.seal, self._part)
        lines = list(self._lines(unit, upcoming, place, entries))
        reached = lines[-1][1] if lines else place
        if entries:
            reached = replace(reached, cursor=entries[-1].position)
        if len(found) == self._bounds.entries_page and len(entries) == len(found):
            return _Page(lines, reached)
        following = found[len(entries)] if len(entries) < len(found) else None
        before = None if following is None else read_position(following.position)
        lines.extend(self._seals(unit, upcoming, reached, before))
        return _Page(lines, lines[-1][1] if lines else reached, is_last=True)

    def _bases(self, unit: Unit, place: ExportPlace) -> _Page:
        lines: list[Line] = []
        for head in unit.seals.bases():
            if (told := f"{TOLD}{head.chain}") > (place.base or ""):
                place = replace(place, base=told)
                lines.append((self._form.other(BASE, head_data(head)), place))
        return _Page(lines, replace(place, base=None))

    def _lines(
        self, unit: Unit, upcoming: "_Upcoming", place: ExportPlace, entries: Sequence[FeedEntry]
    ) -> Iterator[Line]:
        """The entries, and before each the seals that are over what is before it."""
        for entry in entries:
            for line, after in self._seals(unit, upcoming, place, read_position(entry.position)):
                place = after
                yield line, place
            place = replace(place, cursor=entry.position)
            if self._part.has(entry):
                place = replace(place, events=place.events + 1)
                yield self._form.event(entry), place

    def _seals(self, unit: Unit, upcoming: "_Upcoming", place: ExportPlace, before: Position | None) -> Iterator[Line]:
        """The seals behind a place that were made before what is at another; all that there are without one."""
        while (seal := upcoming.next(before)) is not None:
            for line, after in self._seal(unit, place, seal):
                place = after
                yield line, place

    def _seal(self, unit: Unit, place: ExportPlace, seal: Seal) -> Iterator[Line]:
        heads, most = unit.seals.heads(seal.number), self._bounds.heads_per_line_max
        for at in range(place.heads, len(heads), most):
            told = heads[at : at + most]
            place = replace(place, heads=at + len(told))
            yield self._form.other(HEADS, {"number": seal.number, "heads": [head_data(each) for each in told]}), place
        place = replace(place, seal=seal.number, heads=0, seals=place.seals + 1)
        yield self._form.other(SEAL, seal_data(seal)), place


class _Upcoming:
    """The seals that are yet to be told within a page, read a few at a time; none for a part of the trail."""

    def __init__(self, unit: Unit, number: int, part: Part) -> None:
        self._unit = unit
        self._number = number
        self._is_end = not part.is_whole
        self._seals: deque[Seal] = deque()

    def next(self, before: Position | None) -> Seal | None:
        """Takes the next one, where it was made before what is at a place."""
        if not self._seals and not self._is_end:
            self._seals.extend(self._unit.seals.list(self._number, SEALS_PAGE))
            self._is_end = len(self._seals) < SEALS_PAGE
            self._number = self._seals[-1].number if self._seals else self._number
        if not self._seals or (before is not None and read_position(self._seals[0].position) >= before):
            return None
        return self._seals.popleft()


class _Pieces:
    """Puts lines together to pieces, each of which ends with the position behind it."""

    def __init__(self, form: LineForm, place: ExportPlace, bytes_max: int) -> None:
        self._form = form
        self._place = place
        self._bytes_max = bytes_max
        self._lines: list[bytes] = []
        self._bytes = 0

    def add(self, line: bytes, place: ExportPlace) -> audit_pb2.ExportAuditResponse | None:
        """Takes in a line; the piece that has no room for it. A line that is longer is a piece of its own."""
        piece = None
        if self._lines and self._bytes + len(line) > self._bytes_max:
            piece = self._cut()
        self._lines.append(line)
        self._bytes += len(line)
        self._place = place
        return piece

    def last(self, place: ExportPlace) -> audit_pb2.ExportAuditResponse:
        """The last piece, which says that it is."""
        self._place = place
        return self._cut(is_end=True)

    def _cut(self, *, is_end: bool = False) -> audit_pb2.ExportAuditResponse:
        token = self._place.token()
        told = {"resumeToken": token, "eventCount": self._place.events, "sealCount": self._place.seals, "isEnd": is_end}
        lines = b"".join((*self._lines, self._form.other(POSITION, told)))
        self._lines, self._bytes = [], 0
        return audit_pb2.ExportAuditResponse(lines=lines, resume_token=token)


def _part(request: audit_pb2.ExportAuditRequest) -> Part:
    problems = []
    if request.format not in audit_pb2.AuditFormat.DESCRIPTOR.values_by_number:
        problems.append(Problem("format", f"{request.format} is no format of an export"))
    if request.environment and not matches(request.environment, "environments"):
        problems.append(Problem("environment", "is no environment's name: write it as environments/prod"))
    start, end = moment_of(request, "start_time", problems), moment_of(request, "end_time", problems)
    if start is not None and end is not None and end <= start:
        problems.append(Problem("end_time", "must be after start_time"))
    if problems:
        raise InvalidDefinition(tuple(problems))
    return Part(request.environment, start, end)
