"""Secrets in memory, which rotate and fail as a test says."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import OWN_SCHEMES, Secret, SecretRef


class MemorySecrets:
    """Values by reference; what has no `://` is the name of a variable. `failures` are raised for a reference as long as they are there,
    by every way of reading it. `is_stale`: reads go on giving what they gave, until somebody rereads."""

    def __init__(self, values: Mapping[str, str] | None = None, redactor: Redactor | None = None) -> None:
        self.failures: dict[str, PyMigrateError] = {}
        self.is_stale = False
        self.reads: Counter[str] = Counter()
        self.rereads: Counter[str] = Counter()
        self._redactor = redactor or Redactor()
        self._versions: dict[str, list[str]] = {}
        self._seen: dict[str, int] = {}
        for name, value in (values or {}).items():
            self.put(name, value)

    def put(self, name: str, value: str) -> str:
        """Another version of a secret; what it is called."""
        versions = self._versions.setdefault(name if "://" in name else f"env://{name}", [])
        versions.append(value)
        return str(len(versions))

    def remove(self, name: str) -> None:
        """The secret is gone."""
        del self._versions[name if "://" in name else f"env://{name}"]

    @property
    def schemes(self) -> frozenset[str]:
        """Those of its values, and the process's own."""
        return OWN_SCHEMES | {name.partition("://")[0] for name in self._versions}

    @contextmanager
    def held(self, backends: Mapping[str, object]) -> Iterator["MemorySecrets"]:
        """This itself, whatever the backends are."""
        del backends
        yield self

    def read(self, ref: SecretRef) -> Secret:
        """The newest version, or the one that was read before."""
        self.reads[str(ref)] += 1
        versions = self._of(ref)
        if not self.is_stale or str(ref) not in self._seen:
            self._seen[str(ref)] = len(versions)
        return self._told(ref, self._seen[str(ref)])

    def reread(self, ref: SecretRef) -> Secret:
        """The newest version."""
        self.rereads[str(ref)] += 1
        self._seen[str(ref)] = len(self._of(ref))
        return self._told(ref, self._seen[str(ref)])

    def previous(self, ref: SecretRef) -> Secret | None:
        """The version before the newest one."""
        number = len(self._of(ref)) - 1
        return self._told(ref, number) if number else None

    def at(self, version: str) -> "MemorySecrets | _AtVersion":
        """The same at a version; empty: this itself."""
        return _AtVersion(self, int(version)) if version else self

    def login(self, scheme: str) -> str:
        """Who it is."""
        return f"memory as {scheme}"

    def _of(self, ref: SecretRef) -> list[str]:
        if (failure := self.failures.get(str(ref))) is not None:
            raise failure
        if str(ref) not in self._versions:
            raise SecretMissing(f"{ref}: there is none in this test")
        return self._versions[str(ref)]

    def _told(self, ref: SecretRef, number: int) -> Secret:
        versions = self._of(ref)
        if not 1 <= number <= len(versions):
            raise SecretMissing(f"{ref}: there is no version {number}")
        secret = Secret(versions[number - 1], str(number))
        self._redactor.note(secret)
        return secret


class _AtVersion:
    """Secrets at a version."""

    def __init__(self, secrets: MemorySecrets, number: int) -> None:
        self._secrets = secrets
        self._number = number
        self.schemes = secrets.schemes

    def read(self, ref: SecretRef) -> Secret:
        """The value at that version."""
        return self._secrets._told(ref, self._number)  # noqa: SLF001 (a part of it)
