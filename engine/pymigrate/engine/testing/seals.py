"""What proves the audit trail of the store in memory: its chains, seals, and bases."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import takewhile

from pymigrate.engine.domain.audit_chain import UNLINKED, Head, Seal, Written
from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.domain.run import Run
from pymigrate.engine.domain.run_states import RUN_ENDED
from pymigrate.engine.ports.audit import LOOKED_MAX, Moved, Passed
from pymigrate.engine.ports.feed import FeedEntry, Position, as_written, read_position
from pymigrate.engine.testing.feed import Consumer, Stream
from pymigrate.engine.testing.journal import Journal


class MemorySeals:
    """The chains and what was sealed of them."""

    def __init__(self, stream: Stream, runs: dict[str, Run], consumers: dict[str, Consumer], journal: Journal) -> None:
        self._stream = stream
        self._runs = runs
        self._consumers = consumers
        self._journal = journal

    def last(self) -> Seal | None:
        """The newest seal."""
        return self._stream.seals[len(self._stream.seals)][0] if self._stream.seals else None

    def list(self, after: int, limit: int) -> Sequence[Seal]:
        """A page, in order."""
        return [seal for number, (seal, _) in sorted(self._stream.seals.items()) if number > after][:limit]

    def heads(self, number: int) -> Sequence[Head]:
        """What a seal holds."""
        _, heads = self._stream.seals.get(number, (None, ()))
        return sorted(heads, key=lambda head: (head.is_base, head.chain))

    def add(self, seal: Seal, heads: Sequence[Head]) -> None:
        """Raises StaleWrite."""
        if seal.number != len(self._stream.seals) + 1:
            raise StaleWrite(f"seal {seal.number} is not the next one: read the last again")
        self._journal.put(self._stream.seals, seal.number, (seal, tuple(heads)))

    def moved(self, position: str, limit: int) -> Moved:
        """The last link of each chain in a stretch."""
        found = self._stream.behind(read_position(position).entry, limit)
        heads = {each.chain: Head(each.chain, each.place, each.hash) for each in found if each.hash}
        return Moved([heads[chain] for chain in sorted(heads)], _end(found, position), len(found))

    def passed(self, position: str, until: str, limit: int) -> Passed:
        """A stretch."""
        found = self._stream.behind(read_position(position).entry, limit)
        if until:
            found = [each for each in found if each.id <= read_position(until).entry]
        return Passed([_linked(each) for each in found], _end(found, position))

    def bases(self) -> Sequence[Head]:
        """By chain."""
        return [base for _, base in sorted(self._stream.bases.items())]

    def removable(self, position: str, until: str, before: datetime, limit: int) -> Passed:
        """A stretch of what nobody needs any more."""
        window = self._stream.behind(read_position(position).entry, LOOKED_MAX)
        until_entry = read_position(until).entry
        old = list(takewhile(lambda each: each.time < before and each.id <= until_entry, window))
        found = [each for each in old if self._is_done_with(each)]
        if len(found) >= limit:
            found = found[:limit]
            return Passed([_linked(each) for each in found], _end(found, position))
        return Passed([_linked(each) for each in found], _end(old, position))

    def remove(self, bases: Sequence[Head], sequences: Sequence[int]) -> None:
        """Takes entries away. Raises RuntimeError for one that no base covers."""
        for base in bases:
            self._journal.put(self._stream.bases, base.chain, replace(base, is_base=True))
        for number in sequences:
            entry = self._stream.entries.get(number)
            if entry is None:
                continue
            covering = self._stream.bases.get(entry.chain)
            if covering is None or covering.place < entry.place:
                raise RuntimeError("the audit trail is only added to")
            self._journal.drop(self._stream.entries, number)
            self._journal.put(self._stream.removed, number, True)

    def _is_done_with(self, entry: FeedEntry) -> bool:
        run = self._runs.get(entry.run)
        is_open = run is not None and (run.state not in RUN_ENDED or run.seal_time is not None)
        is_held = any(each.place < entry.id or entry.id in each.leases for each in self._consumers.values())
        return not is_open and not is_held and self._stream.heads[entry.chain].place != entry.place


def _end(found: Sequence[FeedEntry], position: str) -> str:
    return str(Position(0, found[-1].id)) if found else position


def _linked(entry: FeedEntry) -> Written:
    written = as_written(entry)
    return written if entry.hash else written._replace(chain=UNLINKED, place=0)
