"""Secrets' documents in memory, for a bounded life and in a bounded number.

One thread asks a backend for a document, and all who want it meanwhile wait for that; nobody waits for another document.
"""

import copy
import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pymigrate.engine.domain.errors import PyMigrateError, SecretsUnavailable
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.secret_backend import SecretDocument

DOCUMENTS_MAX = 2_000
FORMER_SECONDS = 600.0  # a version that another took the place of is remembered for so long
WAIT_SECONDS_MAX = 120.0  # for what another thread asks


class Place(NamedTuple):
    """Which document it is. `key` is empty where a document holds all keys of its location."""

    scheme: str
    location: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A document, when its life in memory ends, and which asking brought it."""

    document: SecretDocument
    ends: float
    number: int
    former: SecretDocument | None = None
    former_ends: float = 0.0


@dataclass(slots=True, eq=False)
class _Asking:
    """What one thread asks and others wait for."""

    number: int
    is_over: threading.Event = field(default_factory=threading.Event)
    document: SecretDocument | None = None
    error: BaseException | None = None

    def answer(self) -> SecretDocument:
        """What came of it, or an error of its own for each who waited."""
        if isinstance(self.error, PyMigrateError):
            raise copy.copy(self.error)
        if self.document is None:
            raise SecretsUnavailable("the thread that asked for the secret ended without an answer")
        return self.document


class Documents:
    """Keeps documents by their places. Safe on every thread."""

    def __init__(self, clock: BlockingClock, documents_max: int = DOCUMENTS_MAX) -> None:
        self._clock = clock
        self._documents_max = documents_max
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._kept: OrderedDict[Place, Kept] = OrderedDict()  # the one that was asked for longest ago first
        self._asking: dict[Place, _Asking] = {}

    def held(self, place: Place) -> SecretDocument | None:
        """What is in memory and has life left."""
        with self._lock:
            kept = self._kept.get(place)
            return kept.document if kept is not None and self._clock.monotonic() < kept.ends else None

    def read(
        self, place: Place, ask: Callable[[], SecretDocument], seconds: float, *, is_anew: bool = False
    ) -> SecretDocument:
        """The document, from memory where it has life left; `is_anew`: as its backend has it at some time after this call began."""
        with self._lock:
            called = next(self._numbers)
        while True:
            with self._lock:
                kept = self._kept.get(place)
                if kept is not None and (kept.number > called or (not is_anew and self._clock.monotonic() < kept.ends)):
                    self._kept.move_to_end(place)
                    return kept.document
                asking = self._asking.get(place)
                is_mine = asking is None
                if asking is None:
                    asking = self._asking[place] = _Asking(next(self._numbers))
            if is_mine:
                return self._ask(place, asking, ask, seconds)
            if not asking.is_over.wait(WAIT_SECONDS_MAX):
                raise SecretsUnavailable(f"{place.scheme}:// has not answered for {WAIT_SECONDS_MAX:.0f} s")
            if asking.number > called or not is_anew:
                return asking.answer()

    def former(self, place: Place) -> SecretDocument | None:
        """What was in memory before the version that is there now."""
        with self._lock:
            kept = self._kept.get(place)
            return kept.former if kept is not None and self._clock.monotonic() < kept.former_ends else None

    def drop(self, place: Place, lease_id: str) -> None:
        """Forgets the document that lives by this lease, so that the next who reads it asks its backend."""
        with self._lock:
            kept = self._kept.get(place)
            if kept is not None and kept.document.lease is not None and kept.document.lease.id == lease_id:
                self._kept[place] = Kept(kept.document, -math.inf, 0, kept.former, kept.former_ends)

    def extend(self, place: Place, lease_id: str, ends: float) -> None:
        """From now on the document that lives by this lease lives until then."""
        with self._lock:
            kept = self._kept.get(place)
            if kept is not None and kept.document.lease is not None and kept.document.lease.id == lease_id:
                self._kept[place] = Kept(kept.document, ends, kept.number, kept.former, kept.former_ends)

    def move(self, place: Place, other: Place) -> None:
        """Keeps what one place has in another."""
        with self._lock:
            if place in self._kept:
                self._kept[other] = self._kept.pop(place)

    def clear(self) -> None:
        """Forgets all."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def _ask(self, place: Place, asking: _Asking, ask: Callable[[], SecretDocument], seconds: float) -> SecretDocument:
        began = self._clock.monotonic()
        try:
            document = asking.document = ask()
            life = seconds if document.lease is None else document.lease.seconds or math.inf
            with self._lock:
                self._keep(place, document, began + life, asking.number)
            return document
        except BaseException as error:
            asking.error = error
            raise
        finally:
            with self._lock:
                self._asking.pop(place, None)
            asking.is_over.set()

    def _keep(self, place: Place, document: SecretDocument, ends: float, number: int) -> None:
        before, now = self._kept.pop(place, None), self._clock.monotonic()
        if before is None:
            former, former_ends = None, 0.0
        elif before.document.lease is None and not _is_same(before.document, document):
            former, former_ends = before.document, now + FORMER_SECONDS
        else:
            former, former_ends = before.former, before.former_ends
        self._kept[place] = Kept(document, ends, number, former, former_ends)
        while len(self._kept) > self._documents_max:
            plain = (each for each, kept in self._kept.items() if kept.document.lease is None)
            del self._kept[next(plain, next(iter(self._kept)))]


def _is_same(one: SecretDocument, other: SecretDocument) -> bool:
    """Whether both hold the same values, whatever their versions are called."""
    return dict(one.values) == dict(other.values)
