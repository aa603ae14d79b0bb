"""Whether secrets that a system was opened with have other values by now, looked at beside whoever uses them: nobody waits for it."""

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.secrets import Secret, SecretRef, Secrets

log = structlog.get_logger(__name__)
LOOK_SECONDS = 1.0
SHUN_SECONDS = 10.0
Used = dict[SecretRef, Secret]


def on_thread(look: Callable[[], None]) -> None:
    """Beside the caller."""
    threading.Thread(target=look, name="secret-versions", daemon=True).start()


class Watch:
    """One opened system's secrets. `begin` when it is opened; asked at each chunk, it looks at most once in LOOK_SECONDS. `beside` runs a
    look: a backend that is away holds nobody up. What was just refused, or is not wanted, is no reason to open the system anew for
    SHUN_SECONDS. Safe on every thread."""

    def __init__(
        self,
        secrets: Secrets,
        monotonic: Callable[[], float] = time.monotonic,
        beside: Callable[[Callable[[], None]], None] = on_thread,
    ) -> None:
        self._secrets = secrets
        self._monotonic = monotonic
        self._beside = beside
        self._lock = threading.Lock()
        self._newest: Used = {}
        self._looked = monotonic()
        self._is_looking = False
        self._shunned: Used | None = None
        self._shunned_until = 0.0

    def begin(self, used: Used, refused: Used | None = None) -> None:
        """A system was opened with these, after `refused` did not open it."""
        with self._lock:
            self._newest, self._looked = dict(used), self._monotonic()
            self._shunned, self._shunned_until = refused, self._monotonic() + SHUN_SECONDS

    def is_stale(self, used: Used) -> bool:
        """Whether another value was seen of any. Looks again for the next time where that is due."""
        with self._lock:
            now = self._monotonic()
            is_due = not self._is_looking and now - self._looked >= LOOK_SECONDS
            if is_due:
                self._is_looking, self._looked = True, now
        if is_due:
            self._beside(lambda: self._look(used))
        with self._lock:
            if self._newest == self._shunned and self._monotonic() < self._shunned_until:
                return False
            return any(self._newest.get(ref, secret) != secret for ref, secret in used.items())

    def shun_present(self) -> None:
        """The values that there are now are no reason to open the system anew, however long it is used."""
        with self._lock:
            self._shunned, self._shunned_until = dict(self._newest), float("inf")

    def relabelled(self, used: Mapping[SecretRef, Secret]) -> Used:
        """The same values, under the newest versions that have them."""
        with self._lock:
            newest = self._newest
            return {ref: newest[ref] if newest.get(ref) == secret else secret for ref, secret in used.items()}

    def _look(self, used: Used) -> None:
        found: Used = {}
        try:
            for ref in used:
                try:
                    found[ref] = self._secrets.read(ref)
                except PyMigrateError as error:  # what is open is no concern of it
                    log.info("secrets.unseen", reference=str(ref), reason=error.reason)
        finally:
            with self._lock:
                self._newest, self._is_looking = {**self._newest, **found}, False
