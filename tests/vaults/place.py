"""A Vault as the contract suite of secret backends sees it: a KV engine of one version, and credentials of a database on demand."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pymigrate.engine.adapters.secrets.vault_backend import VaultBackend
from pymigrate.engine.ports.secrets import SecretRef
from tests.vaults.scene import VaultScene, is_real, vault_scene
from tests.vaults.server import Fault

KNOWS_ANYWHERE = {"refuses"}
KNOWS_IN_THE_STAND_IN = KNOWS_ANYWHERE | {
    "leases",
    "away",
    "throttles",
    "seals",
}  # which nobody does to a Vault that others use


def knows(version: int) -> set[str]:
    """What the place knows of, in the words of the suite."""
    return (KNOWS_ANYWHERE if is_real() else KNOWS_IN_THE_STAND_IN) | ({"versions"} if version == 2 else set())


class VaultPlace:
    """An engine of a scene."""

    def __init__(self, scene: VaultScene, version: int) -> None:
        self._scene = scene
        self._version = version
        self._mount = scene.mount("kv", "kv", version)
        self._token = ""

    def open(self) -> VaultBackend:
        return self._scene.with_token(self._token) if self._token else self._scene.open()

    def ref(self, name: str, key: str = "") -> SecretRef:
        return SecretRef("vault", f"{self._mount}/{name}", key)

    def put(self, name: str, values: Mapping[str, str]) -> str:
        if self._version == 1:
            self._scene.admin.secrets.kv.v1.create_or_update_secret(name, dict(values), mount_point=self._mount)
            return ""
        kv = self._scene.admin.secrets.kv.v2
        return str(kv.create_or_update_secret(name, dict(values), mount_point=self._mount)["data"]["version"])

    def happen(self, what: str, name: str) -> None:
        if what == "refuses":
            self._token = self._scene.token_with(self._scene.allow(f"{self._mount}/data/elsewhere"))
        elif what == "seals":
            self._scene.faults.vault.is_sealed = True
        elif what == "throttles":
            self._scene.faults.throttles(1)
        else:
            self._scene.faults.faults.append(Fault(is_reset=True))

    def lease(self, name: str, seconds: float) -> SecretRef:
        mount = self._scene.mount("databases", "database")
        role = {"db_name": "legacy", "default_ttl": f"{seconds:g}s"}
        self._scene.admin.adapter.post(f"/v1/{mount}/config/legacy", json={"plugin_name": "none"})
        self._scene.admin.adapter.post(f"/v1/{mount}/roles/{name.rpartition('/')[2]}", json=role)
        return SecretRef("vault", f"{mount}/{name}", "password")

    def revoke_all(self) -> None:
        self._scene.faults.vault.revoke_prefix("")

    def living(self) -> int:
        return len(self._scene.faults.vault.leases)


@contextmanager
def vault_place(version: int) -> Iterator[VaultPlace]:
    """In the real Vault that VAULT_ADDR and VAULT_TOKEN name, otherwise in the stand-in."""
    with vault_scene() as scene:
        yield VaultPlace(scene, version)
