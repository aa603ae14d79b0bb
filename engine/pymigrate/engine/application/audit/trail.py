"""The whole trail in the order in which it is proved: entries as the feed has them, and each seal right behind the last entry that it
sealed.

It is read in pieces, each in a unit of work of its own, so that nobody waits long: what is added meanwhile comes at its end.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

from pymigrate.engine.domain.audit_chain import Head, Seal, Written
from pymigrate.engine.ports.store import Store, Unit

# The most that one unit of work reads; both take the store's only writer some tens of milliseconds.
ENTRIES_MAX = 2_000
SEALS_MAX = 50


@dataclass(frozen=True, slots=True)
class Place:
    """How far a trail was read: the cursor behind the last entry, and the number of the last seal."""

    position: str = ""
    seal: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Entries, the seal behind them where there is one, with its heads, and the place behind both."""

    entries: Sequence[Written]
    seal: Seal | None
    heads: Sequence[Head]
    place: Place


async def stretches(store: Store, begin: Place = Place(), entries_max: int = ENTRIES_MAX) -> AsyncIterator[Stretch]:
    """The trail from a place on, to its end as it is when that is reached. No stretch has more than `entries_max` entries."""
    place, is_end = begin, False
    while not is_end:
        found, is_end = await store.read(partial(read_piece, begin=place, entries_max=entries_max))
        for stretch in found:
            yield stretch
            place = stretch.place


def read_piece(unit: Unit, begin: Place, entries_max: int) -> tuple[list[Stretch], bool]:
    """As much as a unit may read, and whether there is no more."""
    found: list[Stretch] = []
    place, room = begin, entries_max
    seals = unit.seals.list(begin.seal, SEALS_MAX)
    for seal in seals:
        passed = unit.seals.passed(place.position, seal.position, room)
        if len(passed.entries) == room:  # there may be more before the seal
            return [*found, Stretch(passed.entries, None, (), Place(passed.position, place.seal))], False
        room -= len(passed.entries)
        place = Place(seal.position, seal.number)
        found.append(Stretch(passed.entries, seal, unit.seals.heads(seal.number), place))
    if len(seals) == SEALS_MAX:
        return found, False
    passed = unit.seals.passed(place.position, "", room)
    found.append(Stretch(passed.entries, None, (), Place(passed.position, place.seal)))
    return found, len(passed.entries) < room
