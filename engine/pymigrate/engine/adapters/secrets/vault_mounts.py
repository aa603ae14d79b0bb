"""Which engine of a Vault a reference leads into: by the versions of KV that the environment declares, else by asking Vault."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import hvac

from pymigrate.engine.adapters.secrets.vault_transport import VaultRefusal
from pymigrate.engine.domain.errors import SecretMissing, SecretRefused
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.secrets import SecretRef

KNOWN_SECONDS = 300.0  # an engine may be mounted anew as another
KNOWN_MAX = 1_000
KV, TRANSIT = "kv", "transit"
NO_ENGINES = frozenset({"sys", "auth", "identity", "cubbyhole"})


@dataclass(frozen=True, slots=True)
class Mount:
    """An engine: `version` of KV alone."""

    path: str
    kind: str
    version: int = 0

    def rest(self, location: str) -> str:
        """What of a location lies within it."""
        return location[len(self.path) :].strip("/")


@dataclass(slots=True)
class Mounts:
    """What is known of engines, for a while. Safe on every thread."""

    declared: dict[str, int]
    clock: BlockingClock
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: dict[str, tuple[Mount, float]] = field(default_factory=dict)

    def of(self, ref: SecretRef, ask: Callable[[Callable[[hvac.Client], Any]], Any]) -> Mount:
        """The engine that a reference leads into. Raises SecretMissing for one that leads nowhere."""
        location = ref.location
        parts = location.split("/")
        if len(parts) < 2 or any(part in {"", ".", ".."} for part in parts):
            raise SecretMissing(f"{ref}: write it as {ref.scheme}://mount/path#field")
        if parts[0] in NO_ENGINES:
            raise SecretMissing(f"{ref}: {parts[0]}/ is no engine that keeps secrets for others")
        declared = [mount for mount in self.declared if _is_within(location, mount)]
        if declared:
            mount = max(declared, key=len)
            return Mount(mount, KV, self.declared[mount])
        return self._found(location) or self._asked(ref, ask)

    def forget(self, mount: Mount) -> bool:
        """Asks anew from now on; whether it was known for long enough to have changed."""
        with self._lock:
            _, ends = self._known.pop(mount.path, (mount, 0.0))
        return 0.0 < ends < self.clock.monotonic() + KNOWN_SECONDS

    def _found(self, location: str) -> Mount | None:
        now = self.clock.monotonic()
        with self._lock:
            found = [mount for mount, ends in self._known.values() if now < ends and _is_within(location, mount.path)]
        return max(found, key=lambda mount: len(mount.path), default=None)

    def _asked(self, ref: SecretRef, ask: Callable[[Callable[[hvac.Client], Any]], Any]) -> Mount:
        path = f"/v1/sys/internal/ui/mounts/{quote(ref.location)}"
        try:
            answer = ask(lambda client: client.adapter.get(path))
        except VaultRefusal as refusal:
            if refusal.status not in {400, 403, 404}:
                raise
            raise SecretRefused(
                f"{ref}: Vault answered {refusal.status} when asked for the engine: there is none at that path, or no policy of this "
                "login leads into it. An engine of KV may be named in kv_versions"
            ) from None
        data = answer.get("data") or {}
        options = data.get("options") or {}
        kind, mounted = str(data.get("type", "")), str(data.get("path", "")).strip("/")
        if not mounted or not _is_within(ref.location, mounted):
            raise SecretRefused(f"{ref}: Vault does not say which engine it is in: name it in kv_versions if it is KV")
        is_kv = kind in {KV, "generic"}
        version = 2 if str(options.get("version", "1")) == "2" else 1
        mount = Mount(mounted, KV, version) if is_kv else Mount(mounted, kind)
        with self._lock:
            self._known[mounted] = (mount, self.clock.monotonic() + KNOWN_SECONDS)
            while len(self._known) > KNOWN_MAX:
                del self._known[next(iter(self._known))]
        return mount


def _is_within(location: str, mount: str) -> bool:
    return location.startswith(f"{mount}/")
