"""The secret backends that tasks and messages bring along, each opened once and shared by all who bring the same one.

One that nobody has used for a while is closed: its credentials are revoked, and its values forgotten.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from pymigrate.engine.adapters.secrets.env import EnvBackend
from pymigrate.engine.adapters.secrets.file import FileBackend
from pymigrate.engine.adapters.secrets.opening import BackendKinds, cache_seconds, content, open_backend
from pymigrate.engine.adapters.secrets.reading import BackendSecrets, Source
from pymigrate.engine.domain.errors import SecretMissing
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import OWN_SCHEMES, Secret, SecretRef, Secrets
from pymigrate.v1 import secret_backend_pb2 as pb

IDLE_SECONDS = 60.0
OWN = {
    "env": Source(EnvBackend, 0.0),
    "file": Source(FileBackend, 0.0),
}  # of the process itself, which are read quickly
Declared = Mapping[str, pb.SecretBackend]


class SchemeSecrets:
    """Reads by the scheme of a reference. Safe on every thread."""

    def __init__(self, secrets: Mapping[str, BackendSecrets]) -> None:
        self._secrets = secrets

    @property
    def schemes(self) -> frozenset[str]:
        """Those that there are backends for."""
        return frozenset(self._secrets)

    def read(self, ref: SecretRef) -> Secret:
        """The value, from memory where its life has not ended."""
        return self._of(ref).read(ref)

    def reread(self, ref: SecretRef) -> Secret:
        """The value as its backend has it now."""
        return self._of(ref).reread(ref)

    def previous(self, ref: SecretRef) -> Secret | None:
        """The version before, where there is one."""
        return self._of(ref).previous(ref)

    def at(self, version: str) -> Secrets:
        """Each at a version; empty: this itself."""
        return _SchemesAtVersion(self._of, version, self.schemes) if version else self

    def login(self, scheme: str) -> str:
        """Logs in to a scheme's backend; its name and version where it tells them."""
        return self._of(SecretRef(scheme, "")).login(scheme)

    def _of(self, ref: SecretRef) -> BackendSecrets:
        found = self._secrets.get(ref.scheme)
        if found is None:
            known = ", ".join(f"{scheme}://" for scheme in sorted(self._secrets)) or "none"
            raise SecretMissing(
                f"{ref}: there is no secret backend `{ref.scheme}` here, but {known}: declare it in the environment"
            )
        return found


@dataclass(frozen=True, slots=True)
class _SchemesAtVersion:
    of: Callable[[SecretRef], BackendSecrets]
    version: str
    schemes: frozenset[str]

    def read(self, ref: SecretRef) -> Secret:
        """The value at that version."""
        return self.of(ref).at(self.version).read(ref)


@dataclass(slots=True)
class _Shared:
    secrets: BackendSecrets
    users: int = 0
    unused_since: float = 0.0


class _Place(NamedTuple):
    """What tells a backend from others: what is declared of it, and of those that its own references lead to."""

    scheme: str
    declared: bytes
    own: tuple[bytes, ...]


class SecretReaders:
    """Opens backends, and closes those that nobody has used for `idle_seconds`. Safe on every thread."""

    def __init__(
        self, redactor: Redactor, clock: BlockingClock, kinds: BackendKinds, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._redactor = redactor
        self._clock = clock
        self._kinds = kinds
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._shared: dict[_Place, _Shared] = {}
        self._timer: threading.Timer | None = None

    @contextmanager
    def held(self, declared: Declared) -> Iterator[SchemeSecrets]:
        """Secrets of these backends, and of the process's own variables and files where none are declared. Nothing is contacted until
        one is read."""
        own = tuple(content(declared[scheme]) for scheme in sorted(OWN_SCHEMES & declared.keys()))
        places = {
            scheme: _Place(scheme, content(declared[scheme]) if scheme in declared else b"", own)
            for scheme in sorted(declared.keys() | OWN_SCHEMES)
        }
        with self._lock:
            for place in places.values():
                if place not in self._shared:
                    self._shared[place] = _Shared(self._built(place.scheme, declared))
                self._shared[place].users += 1
            secrets = SchemeSecrets({scheme: self._shared[place].secrets for scheme, place in places.items()})
        try:
            yield secrets
        finally:
            self._release(places.values())

    def sweep(self) -> None:
        """Closes what nobody has used for long enough. A timer calls it."""
        with self._lock:
            now = self._clock.monotonic()
            unused = {place: shared for place, shared in self._shared.items() if not shared.users}
            due = [place for place, shared in unused.items() if now - shared.unused_since >= self._idle_seconds]
            ending = [self._shared.pop(place) for place in due]
            self._time(is_needed=len(due) < len(unused))
        for shared in ending:
            shared.secrets.close()

    def close(self) -> None:
        """Closes all."""
        with self._lock:
            ending = tuple(self._shared.values())
            self._shared.clear()
            self._time(is_needed=False)
        for shared in ending:
            shared.secrets.close()

    def __len__(self) -> int:
        return len(self._shared)

    def _release(self, places: Iterable[_Place]) -> None:
        with self._lock:
            for place in places:
                shared = self._shared.get(place)
                if shared is not None:
                    shared.users -= 1
                    shared.unused_since = self._clock.monotonic()
            self._time(is_needed=True)

    def _time(self, *, is_needed: bool) -> None:
        if self._timer is not None and not (is_needed and self._timer.is_alive()):
            self._timer.cancel()
            self._timer = None
        if is_needed and self._timer is None:
            self._timer = threading.Timer(self._idle_seconds, self.sweep)
            self._timer.daemon = True
            self._timer.start()

    def _built(self, scheme: str, declared: Declared) -> BackendSecrets:
        return BackendSecrets({scheme: self._source(scheme, declared)}, self._redactor, self._clock)

    def _source(self, scheme: str, declared: Declared) -> Source:
        if scheme not in declared:
            return OWN[scheme]
        backend, own = pb.SecretBackend(), OWN_SCHEMES & declared.keys() if scheme not in OWN_SCHEMES else ()
        backend.CopyFrom(declared[scheme])
        readable = {each: declared[each] for each in own}
        return Source(
            lambda: open_backend(scheme, backend, self._logins(readable), self._kinds), cache_seconds(backend)
        )

    def _logins(self, own: Declared) -> Secrets:
        """What a backend's own references are read by, each time anew."""
        sources = {scheme: replace(self._source(scheme, own), cache_seconds=0.0) for scheme in OWN_SCHEMES}
        return BackendSecrets(sources, self._redactor, self._clock)
