"""Reads the secrets of one Vault: KV in both versions, what engines make on demand with its lease, and what transit decrypts."""

import base64
import binascii
import json
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import hvac

from pymigrate.engine.adapters.secrets.vault import Unwrapped, VaultPlace
from pymigrate.engine.adapters.secrets.vault_logins import Logins
from pymigrate.engine.adapters.secrets.vault_methods import Door
from pymigrate.engine.adapters.secrets.vault_mounts import KV, TRANSIT, Mount, Mounts
from pymigrate.engine.adapters.secrets.vault_saying import error_of
from pymigrate.engine.adapters.secrets.vault_transport import VaultPool, VaultRefusal
from pymigrate.engine.domain.errors import SecretMissing, SecretsUnavailable
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.secret_backend import PREVIOUS, Lease, SecretDocument
from pymigrate.engine.ports.secrets import Secret, SecretRef

LEASES_MAX = 2_000
FORBIDDEN, NOT_FOUND = 403, 404
MISSED = frozenset({400, 404, 405})
HEALTH = {"standbyok": "true", "perfstandbyok": "true"}
NO_VERSIONS = "keeps no versions: leave the version out"


class VaultBackend:
    """One Vault, logged in to as one environment. Safe on every thread."""

    def __init__(self, place: VaultPlace, clock: BlockingClock, unwrapped: Unwrapped) -> None:
        self._place = place
        self._clock = clock
        self._pool = VaultPool(place, clock)
        self._logins = Logins(Door(self._pool, unwrapped))
        self._mounts = Mounts(dict(place.kv_versions), clock)
        self._lock = threading.Lock()
        self._made_by: dict[str, int] = {}  # the number of the login, by the id of a lease that it made

    def login(self) -> str:
        """Logs in where that is due; `Vault` and its version where it tells it."""
        login = self._logins.current()
        try:
            version = login.client.adapter.get("/v1/sys/health", params=HEALTH).get("version")
        except VaultRefusal as refusal:
            if refusal.status >= 500:
                raise error_of(f"{self._place.scheme}:// at {self._place.address}", refusal) from None
            version = None
        return f"Vault {version}" if isinstance(version, str) and version else "Vault"

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        """The document that the reference lies in; of transit, what its ciphertext holds."""
        try:
            mount = self._mounts.of(ref, self._asked)
            try:
                return self._document(ref, mount, version)
            except VaultRefusal as refusal:
                if (
                    refusal.status not in MISSED
                    or mount.path in self._mounts.declared
                    or not self._mounts.forget(mount)
                ):
                    raise
            fresh = self._mounts.of(ref, self._asked)
            return self._document(ref, fresh, version)
        except VaultRefusal as refusal:
            raise error_of(str(ref), refusal) from None

    def renew(self, lease: Lease) -> Lease:
        """The lease with a new life, which is no longer than that of the login that it was made by."""
        try:
            answer = self._asked(lambda client: client.sys.renew_lease(lease.id))
        except VaultRefusal as refusal:
            raise error_of(f"the lease {lease.id}", refusal) from None
        seconds = float(answer.get("lease_duration") or 0)
        with self._lock:
            number = self._made_by.get(lease.id)
        is_renewable = bool(answer.get("renewable"))
        return Lease(lease.id, self._bounded(seconds, number), is_renewable)

    def revoke(self, lease: Lease) -> None:
        """Ends what was made on demand, and the user of a database with it."""
        with self._lock:
            self._made_by.pop(lease.id, None)
        try:
            self._asked(lambda client: client.sys.revoke_lease(lease.id))
        except VaultRefusal as refusal:
            if refusal.status not in MISSED:
                raise error_of(f"the lease {lease.id}", refusal) from None

    def close(self) -> None:
        """Gives up the login, and with it what it made. May be called again."""
        self._logins.close()
        self._pool.close()

    def _asked(self, call: Callable[[hvac.Client], Any]) -> Any:
        """Asks with the login, and once more with another where Vault does not take it."""
        return self._asked_by(call)[0]

    def _asked_by(self, call: Callable[[hvac.Client], Any]) -> tuple[Any, int]:
        login = self._logins.current()
        try:
            return call(login.client), login.number
        except VaultRefusal as refusal:
            if refusal.status != FORBIDDEN:
                raise
            another = self._logins.anew(login)
            if another is None:
                raise
        return call(another.client), another.number

    def _document(self, ref: SecretRef, mount: Mount, version: str) -> SecretDocument:
        if mount.kind == TRANSIT:
            return self._decrypted(ref, mount, version)
        if mount.kind == KV and mount.version == 2:
            return self._versioned(ref, mount, version)
        if version:
            raise SecretMissing(f"{ref}: the engine at {mount.path}/ {NO_VERSIONS}")
        if mount.kind == KV:
            path = mount.rest(ref.location)
            answer = self._asked(lambda client: client.secrets.kv.v1.read_secret(path, mount_point=mount.path))
            return SecretDocument(_values(ref, answer, ""))
        answer, number = self._asked_by(lambda client: client.read(quote(ref.location)))
        return self._made(ref, answer, number)

    def _versioned(self, ref: SecretRef, mount: Mount, version: str) -> SecretDocument:
        path = mount.rest(ref.location)
        wanted = self._version_before(ref, mount, path) if version == PREVIOUS else version
        if wanted and not (wanted.isdecimal() and int(wanted) > 0):
            raise SecretMissing(f"{ref}: versions of KV are numbers from 1: there is no `{wanted}`")

        def call(client: hvac.Client) -> Any:
            return client.secrets.kv.v2.read_secret_version(
                path, version=int(wanted) if wanted else None, mount_point=mount.path, raise_on_deleted_version=True
            )

        try:
            answer = self._asked(call)
        except VaultRefusal as refusal:
            if refusal.status == NOT_FOUND:
                raise SecretMissing(f"{ref}: {_why_missing(refusal, wanted)}") from None
            raise
        data = answer.get("data") or {}
        number = str((data.get("metadata") or {}).get("version", ""))
        return SecretDocument(_values(ref, data, number), number)

    def _version_before(self, ref: SecretRef, mount: Mount, path: str) -> str:
        """By the number of the current one, which reading it tells, also of one that was deleted: no further right is needed."""

        def call(client: hvac.Client) -> Any:
            return client.secrets.kv.v2.read_secret_version(path, mount_point=mount.path, raise_on_deleted_version=True)

        try:
            found = self._asked(call).get("data")
        except VaultRefusal as refusal:
            found = refusal.document.get("data")
            if refusal.status != NOT_FOUND or not isinstance(found, Mapping):
                raise
        number = int((found or {}).get("metadata", {}).get("version", 0))
        if number < 2:
            raise SecretMissing(f"{ref}: there is no version before the current one")
        return str(number - 1)

    def _decrypted(self, ref: SecretRef, mount: Mount, version: str) -> SecretDocument:
        operation, _, key = mount.rest(ref.location).partition("/")
        if operation != "decrypt" or not key or not ref.key:
            raise SecretMissing(
                f"{ref}: of transit it is {ref.scheme}://{mount.path}/decrypt/{{key}}#{{ciphertext}}, such as #vault:v1:…"
            )
        if version:
            raise SecretMissing(f"{ref}: transit {NO_VERSIONS}, and write another ciphertext")

        def call(client: hvac.Client) -> Any:
            return client.secrets.transit.decrypt_data(key, ref.key, mount_point=mount.path)

        try:
            plain = base64.b64decode(str(self._asked(call)["data"]["plaintext"]), validate=True)
        except (KeyError, TypeError, binascii.Error):
            raise SecretsUnavailable(f"{ref}: Vault's answer holds no plaintext") from None
        of_key = ref.key.split(":")[1] if ref.key.count(":") >= 2 else ""
        # Bytes that are no text are carried as they are: a key of random bytes is none.
        secret = Secret(plain.decode("utf-8", "surrogateescape"), of_key)
        return SecretDocument({ref.key: secret}, of_key, is_whole=False)

    def _made(self, ref: SecretRef, answer: Mapping[str, Any], number: int) -> SecretDocument:
        """What an engine gave: made on demand where it has a lease; otherwise such as a static role's, whose rotation tells its version."""
        lease_id = str(answer.get("lease_id") or "")
        data = answer.get("data")
        rotated = data.get("last_vault_rotation") if isinstance(data, Mapping) else None
        version = lease_id.rpartition("/")[2] or str(rotated or "")
        values = _values(ref, answer, version)
        if not lease_id:
            return SecretDocument(values, version)
        with self._lock:
            self._made_by[lease_id] = number
            while len(self._made_by) > LEASES_MAX:
                del self._made_by[next(iter(self._made_by))]
        seconds = self._bounded(float(answer.get("lease_duration") or 0), number)
        return SecretDocument(values, version, Lease(lease_id, seconds, bool(answer.get("renewable"))))

    def _bounded(self, seconds: float, number: int | None) -> float:
        """A lease's life, which ends with the login that made it."""
        if number is None:
            return seconds
        left = self._logins.ends(number) - self._clock.monotonic()
        if math.isinf(left):
            return seconds
        return max(0.001, min(left, seconds or left))


def _values(ref: SecretRef, answer: Mapping[str, Any], version: str) -> dict[str, Secret]:
    data = answer.get("data")
    if not isinstance(data, Mapping):
        raise SecretMissing(f"{ref}: Vault's answer holds no secret")
    return {str(name): Secret(_text(value), version) for name, value in data.items() if value is not None}


def _text(value: object) -> str:
    """A text as it is, anything else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _why_missing(refusal: VaultRefusal, wanted: str) -> str:
    data = refusal.document.get("data")
    metadata = data.get("metadata") if isinstance(data, Mapping) else None
    if not isinstance(metadata, Mapping):
        return f"Vault answered 404: there is no {f'version {wanted} of it' if wanted else 'such secret'}"
    which = f"version {metadata.get('version')}"
    if metadata.get("destroyed"):
        return f"Vault answered 404: {which} was destroyed"
    return f"Vault answered 404: {which} was deleted at {metadata.get('deletion_time')}: undelete it, or write another"
