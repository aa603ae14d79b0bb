"""A secret backend in memory: it counts versions, makes credentials on demand, and is away, sealed or forbidding as a test says."""

import copy
import itertools
import threading
from collections import Counter
from collections.abc import Mapping

from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing
from pymigrate.engine.ports.secret_backend import PREVIOUS, Lease, SecretDocument
from pymigrate.engine.ports.secrets import Secret, SecretRef


class MemoryBackend:
    """Keeps every version of what is put under a location. `failure` is raised by whatever is asked as long as it is set."""

    def __init__(self) -> None:
        self.failure: PyMigrateError | None = None
        self.reads: Counter[str] = Counter()
        self.renewals: Counter[str] = Counter()
        self.leases: dict[str, Lease] = {}
        self.revoked: list[str] = []
        self.closings = 0
        self._versions: dict[str, list[Mapping[str, str]]] = {}
        self._made: dict[str, Lease] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def put(self, location: str, values: Mapping[str, str]) -> str:
        """Another version; what it is called."""
        versions = self._versions.setdefault(location, [])
        versions.append(dict(values))
        return str(len(versions))

    def make(self, location: str, seconds: float, *, is_renewable: bool = True) -> None:
        """From now on whoever reads there gets credentials of their own for so many seconds."""
        self._made[location] = Lease("", seconds, is_renewable)

    def remove(self, location: str) -> None:
        """Nothing is there any more."""
        self._versions.pop(location, None)

    def login(self) -> str:
        """Who it is."""
        self._fail()
        return "Memory 1"

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        """What was put there, or what is made anew."""
        with self._lock:
            self.reads[ref.location] += 1
        self._fail()
        if (life := self._made.get(ref.location)) is not None and not version:
            with self._lock:
                number = next(self._numbers)
                lease = Lease(f"{ref.location}/{number}", life.seconds, life.is_renewable)
                self.leases[lease.id] = lease
            values = {"username": Secret(f"user-{number}"), "password": Secret(f"made-for-{number}")}
            return SecretDocument(values, str(number), lease)
        versions = self._versions.get(ref.location, [])
        number = len(versions) - 1 if version == PREVIOUS else int(version or len(versions))
        if not 1 <= number <= len(versions):
            raise SecretMissing(f"{ref}: there is no such version")
        said = str(number)
        return SecretDocument({key: Secret(value, said) for key, value in versions[number - 1].items()}, said)

    def renew(self, lease: Lease) -> Lease:
        """The same life again."""
        self._fail()
        with self._lock:
            if lease.id not in self.leases:
                raise SecretMissing("the lease has ended or was revoked")
            self.renewals[lease.id] += 1
            return self.leases[lease.id]

    def revoke(self, lease: Lease) -> None:
        """Ends it."""
        self._fail()
        with self._lock:
            self.leases.pop(lease.id, None)
            self.revoked.append(lease.id)

    def close(self) -> None:
        """Counts."""
        self.closings += 1

    def _fail(self) -> None:
        if self.failure is not None:
            raise copy.copy(self.failure)
