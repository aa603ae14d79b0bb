"""One connection's way in: its secrets are read each time the system is opened, and read anew where a login is refused.

A rotation changes two places one after the other, the system and where its secret is kept, and whoever opens the system in between has a
value that is too old or too new. So a refused login reads once past the memory and tries again, then tries the version before where there
is one; only then it is refused. Everything that opens a system does it here.
"""

import threading
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import TypeVar

from pymigrate.engine.domain.errors import CredentialsRefused, PyMigrateError, SecretMissing
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.entrypoints.worker.systems import system_kind, system_spec
from pymigrate.engine.entrypoints.worker.versions import Used, Watch
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.secrets import RotatingSecrets, Secret, SecretRef, Secrets
from pymigrate.v1 import connection_pb2

Opened = TypeVar("Opened")


class Way(IntEnum):
    """Which of a secret's values a system is opened with."""

    KEPT = 0  # as it may be in memory
    ANEW = 1  # as its backend has it now
    BEFORE = 2  # the version before


class Credentials:
    """A task's connection. `field` is told with every error that names none. `is_patient`: whoever asks wants the system open, by whatever
    value it takes; otherwise he wants to know whether the present one is good. Safe on every thread."""

    def __init__(
        self,
        connection: connection_pb2.Connection,
        secrets: Secrets,
        field: str = "",
        watch: Watch | None = None,
        *,
        is_patient: bool = True,
    ) -> None:
        self._connection = connection
        self._secrets = secrets
        self.field = field
        self._watch = watch
        self._is_patient = is_patient
        self._taken = self._first = Way.KEPT
        self._used: Used = {}
        self._lock = threading.Lock()

    @property
    def kind(self) -> str:
        """What opens it."""
        return system_kind(self._connection)

    @property
    def name(self) -> str:
        """The connection's."""
        return last_segment(self._connection.name)

    def spec(self) -> SystemSpec:
        """The system with its secrets as they are now; for who does not open it."""
        return self._read(Way.KEPT if self._is_patient else Way.ANEW)[0]

    def open(self, open_system: Callable[[SystemSpec], Opened]) -> Opened:
        """The opened system. Raises CredentialsRefused when no value is taken, and what reading the secrets raises."""
        tried: list[Used] = []
        refused: PyMigrateError | None = None
        for way in self._ways():
            try:
                spec, used = self._read(way)
            except PyMigrateError as error:
                if refused is None:
                    raise
                refused.add_note(f"and when its secret was read again: {error.message}")
                break
            if way is Way.BEFORE and used in tried:
                break
            try:
                opened = open_system(spec)
            except CredentialsRefused as error:
                error.field = error.field or self.field
                refused = error
                tried.append(used)
                if not used:
                    break  # it has no secret that could be another
            else:
                self._settle(way, used, tried)
                return opened
        self._first = Way.KEPT
        raise refused or AssertionError("the first way is always tried")

    def doubt(self) -> bool:
        """The system refused, after it was opened, what it was opened with. True: there is another value to open it with."""
        with self._lock:
            is_last = not self._used or self._taken is Way.BEFORE
            self._first = Way.KEPT if is_last else Way(self._taken + 1)
            return not is_last

    def is_stale(self) -> bool:
        """What was opened works, and a secret of it has another value by now. Cheap: asks memory at most once a second, on a thread of its
        own."""
        with self._lock:
            self._first, used = Way.KEPT, self._used
        return bool(used) and self._watch is not None and self._watch.is_stale(used)

    def keep(self) -> None:
        """What is open stays, whatever value there is by now."""
        if self._watch is not None:
            self._watch.shun_present()

    def versions(self) -> dict[str, str]:
        """Of the secrets that it was opened with, by their references; those of backends that count none are left out."""
        with self._lock:
            used = self._watch.relabelled(self._used) if self._watch is not None else self._used
        return {str(ref): secret.version for ref, secret in used.items() if secret.version}

    def _ways(self) -> Iterator[Way]:
        if not self._is_patient:
            return iter((Way.ANEW,))
        return iter([way for way in Way if way >= self._first])

    def _settle(self, way: Way, used: Used, refused: list[Used]) -> None:
        with self._lock:
            self._taken, self._first, self._used = way, Way.KEPT, used
        if self._watch is not None:
            self._watch.begin(used, refused[-1] if way is Way.BEFORE and refused else None)

    def _read(self, way: Way) -> tuple[SystemSpec, Used]:
        reading = _Reading(self._secrets, way)
        try:
            return system_spec(self._connection, reading), reading.used
        except PyMigrateError as error:
            error.field = error.field or self.field
            raise


class _Reading:
    """Secrets for one opening, which are remembered. What lies in one document is read anew once, so that user and password belong
    together."""

    def __init__(self, secrets: Secrets, way: Way) -> None:
        self._secrets = secrets
        self._way = way
        self._anew: set[tuple[str, str]] = set()
        self.used: Used = {}

    @property
    def schemes(self) -> frozenset[str]:
        """Those that there are backends for."""
        return self._secrets.schemes

    def read(self, ref: SecretRef) -> Secret:
        """The value of the way."""
        self.used[ref] = secret = self._value(ref)
        return secret

    def _value(self, ref: SecretRef) -> Secret:
        secrets = self._secrets
        if self._way is Way.KEPT or not isinstance(secrets, RotatingSecrets):
            return secrets.read(ref)
        if self._way is Way.ANEW:
            if (place := (ref.scheme, ref.location)) in self._anew:
                return secrets.read(ref)
            self._anew.add(place)
            return secrets.reread(ref)
        try:
            return secrets.previous(ref) or secrets.read(ref)
        except SecretMissing:
            return secrets.read(ref)
