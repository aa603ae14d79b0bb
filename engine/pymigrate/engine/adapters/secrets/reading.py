"""Secrets out of backends, each chosen by its reference's scheme.

They are read through memory, asked for again with patience while a backend is away, and told to the redactor before anybody has them.
"""

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from pymigrate.engine.adapters.secrets.documents import DOCUMENTS_MAX, Documents, Place
from pymigrate.engine.adapters.secrets.leasing import Leases
from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing, SecretRefused, SecretsUnavailable
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secret_backend import PREVIOUS, SecretBackend, SecretDocument
from pymigrate.engine.ports.secrets import Secret, SecretRef, Secrets

log = structlog.get_logger(__name__)
CACHE_SECONDS = 30.0
TRIES_MAX = 4
PATIENCE_SECONDS = 5.0  # between tries, in all; whoever needs the secret waits longer, if at all
AGAIN_SECONDS = 0.25
CLOSE_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Source:
    """A backend that is opened when it is first asked, and for how many seconds what it gave is kept in memory."""

    open: Callable[[], SecretBackend]
    cache_seconds: float = CACHE_SECONDS


class BackendSecrets:
    """Reads from one backend for each scheme. Safe on every thread. Has a thread of its own as soon as there is a lease to renew, and
    is closed by whoever made it."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        redactor: Redactor,
        clock: BlockingClock,
        rng: random.Random | None = None,
        *,
        documents_max: int = DOCUMENTS_MAX,
        has_thread: bool = True,
    ) -> None:
        self._sources = sources
        self._redactor = redactor
        self._clock = clock
        self._rng = rng or random.Random()
        self._documents = Documents(clock, documents_max)
        self._leases = Leases(clock, self._documents.extend, self._documents.drop, has_thread=has_thread)
        self._opening = {scheme: threading.Lock() for scheme in sources}
        self._backends: dict[str, SecretBackend] = {}
        self._partial: dict[tuple[str, str], None] = {}
        self._is_closed = False

    @property
    def schemes(self) -> frozenset[str]:
        """Those that there are backends for."""
        return frozenset(self._sources)

    def read(self, ref: SecretRef) -> Secret:
        """The value, from memory where its life has not ended."""
        return self._told(ref, self._document(ref, is_anew=False))

    def reread(self, ref: SecretRef) -> Secret:
        """The value as its backend has it now. Of what is made on demand it is a new one."""
        return self._told(ref, self._document(ref, is_anew=True))

    def previous(self, ref: SecretRef) -> Secret | None:
        """The version before: the backend's, or the one that was in memory before, within the last ten minutes."""
        former = self._documents.former(self._place(ref))
        try:
            document = self._asked(ref, PREVIOUS)
        except (SecretMissing, SecretRefused):
            if former is None:
                return None
            document = former
        return self._told(ref, document) if ref.key in document.values else None

    def at(self, version: str) -> Secrets:
        """Each read asks its backend for that version; empty: this itself."""
        return _AtVersion(self._at, version, self.schemes) if version else self

    def login(self, scheme: str) -> str:
        """Logs in to a scheme's backend; its name and version where it tells them."""
        return self._backend(scheme, f"{scheme}://").login()

    def tend(self) -> float:
        """Renews the leases that are due; in how many seconds one is due again. The thread calls it."""
        return self._leases.tend()

    def close(self, seconds_max: float = CLOSE_SECONDS_MAX) -> None:
        """Revokes what was made on demand, gives up logins and forgets all values, for at most so many seconds. May be called again."""
        self._is_closed = True
        backends = list[SecretBackend]()
        for scheme, lock in self._opening.items():
            with lock:
                backends += [backend] if (backend := self._backends.pop(scheme, None)) is not None else []
        ends = self._clock.monotonic() + seconds_max
        self._leases.close(seconds_max)
        self._documents.clear()
        if backends:
            closing = threading.Thread(target=_close_each, args=(backends,), name="secret-closing", daemon=True)
            closing.start()
            closing.join(max(0.0, ends - self._clock.monotonic()))

    def _at(self, ref: SecretRef, version: str) -> Secret:
        return self._told(ref, self._asked(ref, version))

    def _place(self, ref: SecretRef) -> Place:
        is_partial = (ref.scheme, ref.location) in self._partial
        return Place(ref.scheme, ref.location, ref.key if is_partial else "")

    def _document(self, ref: SecretRef, *, is_anew: bool) -> SecretDocument:
        place = self._place(ref)
        before = self._documents.held(place)
        document = self._kept(place, ref, is_anew=is_anew)
        if ref.key in document.values:
            return document
        if self._place(ref) != place:  # another key's document was waited for
            return self._kept(self._place(ref), ref, is_anew=is_anew)
        if document is before and document.lease is None:  # the key may have been added since
            return self._kept(place, ref, is_anew=True)
        return document

    def _kept(self, place: Place, ref: SecretRef, *, is_anew: bool) -> SecretDocument:
        source = self._sources.get(ref.scheme)
        own = Place(ref.scheme, ref.location, ref.key)

        def ask() -> SecretDocument:
            document = self._asked(ref)
            if document.lease is not None:
                backend = self._backend(ref.scheme, str(ref))
                self._leases.hold(place if document.is_whole else own, backend, document.lease)
            if not document.is_whole:
                self._partial[place.scheme, place.location] = None
                while len(self._partial) > DOCUMENTS_MAX:
                    self._partial.pop(next(iter(self._partial)), None)
            return document

        document = self._documents.read(place, ask, source.cache_seconds if source else 0.0, is_anew=is_anew)
        if not document.is_whole and place != own and ref.key in document.values:
            self._documents.move(place, own)
        return document

    def _asked(self, ref: SecretRef, version: str = "") -> SecretDocument:
        """What the backend says, asked again with growing breaks while it is away."""
        backend = self._backend(ref.scheme, str(ref))
        patience, wait = PATIENCE_SECONDS, AGAIN_SECONDS
        for tries in range(1, TRIES_MAX + 1):
            try:
                return backend.read(ref, version)
            except SecretsUnavailable as error:
                seconds = max(error.retry_after_seconds, wait) * self._rng.uniform(1.0, 1.5)
                if tries == TRIES_MAX or seconds > patience:
                    raise
            except PyMigrateError:
                raise
            except Exception as error:  # noqa: BLE001 (another package's code)
                # What a backend says on its own may hold anything, the value too.
                raise SecretsUnavailable(f"{ref}: its backend failed with {type(error).__name__}") from None
            self._clock.wait(seconds)
            patience, wait = patience - seconds, 2 * wait
        raise AssertionError("the last try returns or raises")

    def _backend(self, scheme: str, asked: str) -> SecretBackend:
        if scheme not in self._sources:
            known = ", ".join(f"{known}://" for known in sorted(self._sources)) or "none"
            raise SecretMissing(
                f"{asked}: there is no secret backend `{scheme}` here, but {known}: declare it in the environment"
            )
        with self._opening[scheme]:
            if self._is_closed:
                raise SecretsUnavailable(f"{asked}: whoever reads secrets here is ending")
            if scheme not in self._backends:
                self._backends[scheme] = self._sources[scheme].open()
            return self._backends[scheme]

    def _told(self, ref: SecretRef, document: SecretDocument) -> Secret:
        secret = document.values.get(ref.key)
        if secret is None:
            said = (
                f"no text or number under `{ref.key}`" if ref.key else "no single value: name one of its keys after #"
            )
            raise SecretMissing(f"{ref}: the secret has {said}")
        self._redactor.note(secret)
        return secret


@dataclass(frozen=True, slots=True)
class _AtVersion:
    """Secrets at a version."""

    ask: Callable[[SecretRef, str], Secret]
    version: str
    schemes: frozenset[str]

    def read(self, ref: SecretRef) -> Secret:
        """The value at that version."""
        return self.ask(ref, self.version)


def _close_each(backends: list[SecretBackend]) -> None:
    for backend in backends:
        try:
            backend.close()
        except Exception as error:  # noqa: BLE001 (another package's code; the others are closed all the same)
            log.warning("secrets.backend_not_closed", error=type(error).__name__)
