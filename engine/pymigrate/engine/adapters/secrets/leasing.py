"""Leases of credentials that backends make on demand: renewed before they end as long as they are held, and revoked at the end."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from pymigrate.engine.adapters.secrets.documents import Place
from pymigrate.engine.domain.errors import PermanentError, TemporaryError
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.secret_backend import Lease, SecretBackend

log = structlog.get_logger(__name__)
RENEW_SHARE = 2 / 3  # of its life, after which a lease is renewed
NOTICE_SECONDS = 300.0  # a lease is renewed this often at least, so that a revoked one is noticed
ENDING_SHARE = 1 / 3  # one that is given less than this of its first life is about to end for good
AGAIN_SECONDS = 1.0
AGAIN_SECONDS_MAX = 15.0
SPENT_MAX = 2_000  # whose documents were replaced, and that are revoked at the end if they live as long
REVOKERS = 8


@dataclass(slots=True)
class _Held:
    backend: SecretBackend
    id: str
    lease: Lease
    first_seconds: float
    due: float
    ends: float
    again_seconds: float = AGAIN_SECONDS


class Leases:
    """Holds the lease of one document a place. Safe on every thread. `on_renewed` is told of a new end, `on_ended` of a lease that is no
    longer to be used by whoever reads from now on."""

    def __init__(
        self,
        clock: BlockingClock,
        on_renewed: Callable[[Place, str, float], None],
        on_ended: Callable[[Place, str], None],
        *,
        has_thread: bool = True,
    ) -> None:
        self._clock = clock
        self._on_renewed = on_renewed
        self._on_ended = on_ended
        self._has_thread = has_thread
        self._lock = threading.Lock()
        self._held: dict[Place, _Held] = {}
        self._spent: list[tuple[SecretBackend, Lease, float]] = []
        self._changed = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def hold(self, place: Place, backend: SecretBackend, lease: Lease) -> None:
        """Renews it from now on. The one that the place had is left to end by itself, since somebody may use it still."""
        now, life = self._clock.monotonic(), lease.seconds or math.inf
        with self._lock:
            is_closed = self._is_closed
            if not is_closed:
                self._spend(place)
                self._held[place] = _Held(
                    backend, lease.id, lease, lease.seconds, now + _first_wait(lease, life), now + life
                )
            if self._has_thread and self._thread is None and not is_closed:
                self._thread = threading.Thread(target=self._run, name="secret-leases", daemon=True)
                self._thread.start()
        if is_closed:
            _revoke_each([(backend, lease)])
        self._changed.set()

    def tend(self) -> float:
        """Renews what is due; in how many seconds something is due again."""
        with self._lock:
            now = self._clock.monotonic()
            due = [(place, held) for place, held in self._held.items() if held.due <= now]
        for place, held in due:
            self._renew(place, held)
        with self._lock:
            now = self._clock.monotonic()
            return max(0.0, min((held.due for held in self._held.values()), default=math.inf) - now)

    def close(self, seconds_max: float) -> None:
        """Stops renewing, and revokes what is alive, for at most so many seconds."""
        with self._lock:
            self._is_closed = True
            now = self._clock.monotonic()
            for place in tuple(self._held):
                self._spend(place)
            left = [(backend, lease) for backend, lease, ends in self._spent if ends > now]
            self._spent.clear()
        self._changed.set()
        revokers = [
            threading.Thread(target=_revoke_each, args=(left,), name="secret-revoking", daemon=True)
            for _ in range(min(REVOKERS, len(left)))
        ]
        for revoker in revokers:
            revoker.start()
        ends = self._clock.monotonic() + seconds_max
        for thread in (*revokers, *((self._thread,) if self._thread else ())):
            thread.join(max(0.0, ends - self._clock.monotonic()))

    def _spend(self, place: Place) -> None:
        former = self._held.pop(place, None)
        if former is not None:
            self._spent.append((former.backend, former.lease, former.ends))
            now = self._clock.monotonic()
            self._spent = [each for each in self._spent if each[2] > now][-SPENT_MAX:]

    def _renew(self, place: Place, held: _Held) -> None:
        now = self._clock.monotonic()
        if not held.lease.is_renewable or now >= held.ends:
            self._end(place, held)
            return
        try:
            fresh = held.backend.renew(held.lease)
        except PermanentError:
            self._end(place, held)
            return
        except TemporaryError as error:
            wait = max(held.again_seconds, min(error.retry_after_seconds, AGAIN_SECONDS_MAX))
            held.again_seconds = min(2 * held.again_seconds, AGAIN_SECONDS_MAX)
            held.due = min(self._clock.monotonic() + wait, held.ends)
            return
        life = fresh.seconds or math.inf
        with self._lock:
            held.lease, held.ends, held.again_seconds = fresh, now + life, AGAIN_SECONDS
            held.due = now + _first_wait(fresh, life)
            is_held = self._held.get(place) is held
        if fresh.seconds and fresh.seconds < held.first_seconds * ENDING_SHARE:
            self._end(place, held)
        elif is_held:
            self._on_renewed(place, held.id, held.ends)

    def _end(self, place: Place, held: _Held) -> None:
        with self._lock:
            if self._held.get(place) is held:
                self._spend(place)
        self._on_ended(place, held.id)

    def _run(self) -> None:
        while True:
            seconds = self.tend()
            self._changed.wait(None if math.isinf(seconds) else seconds)
            self._changed.clear()
            with self._lock:
                if self._is_closed:
                    return


def _first_wait(lease: Lease, life: float) -> float:
    """In how many seconds something is to be done about it."""
    return min(life * RENEW_SHARE, NOTICE_SECONDS) if lease.is_renewable else life * RENEW_SHARE


def _revoke_each(left: list[tuple[SecretBackend, Lease]]) -> None:
    """Revokes until none is left. What can't be revoked ends by itself, at the end of its life."""
    while True:
        try:
            backend, lease = left.pop()
        except IndexError:
            return
        try:
            backend.revoke(lease)
        except (PermanentError, TemporaryError) as error:
            log.warning("secrets.lease_not_revoked", reason=error.reason)
