"""What tests prepare in a Vault, by its API: the stand-in's, or a real one's where VAULT_ADDR and VAULT_TOKEN say where.

All of it lies under a random path, and is removed at the end.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import hvac
from hvac.exceptions import InvalidPath, InvalidRequest, VaultError

from pymigrate.engine.adapters.clock import ThreadClock
from pymigrate.engine.adapters.secrets.vault import VaultKind
from pymigrate.engine.adapters.secrets.vault_backend import VaultBackend
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.secret_backend import BackendOptions
from pymigrate.engine.ports.secrets import OWN_SCHEMES, Secret, SecretRef
from pymigrate.engine.testing.clock import HastyClock
from tests.vaults.server import VaultNode, running_vault

OWN = "env"
READY_POLLS_MAX = 100
READY_POLL_SECONDS = 0.1


@dataclass
class OwnSecrets:
    """What one logs in with, as variables."""

    values: dict[str, str] = field(default_factory=dict)
    schemes: frozenset[str] = OWN_SCHEMES

    def read(self, ref: SecretRef) -> Secret:
        return Secret(self.values[ref.location])


def own(name: str) -> SecretRef:
    return SecretRef(OWN, name)


@dataclass
class VaultScene:
    """A Vault and its administrator. `node` is the stand-in, where it is one."""

    address: str
    token: str
    node: VaultNode | None = None
    namespace: str = ""
    ca_file: str = ""
    base: str = field(default_factory=lambda: f"pymigrate-test-{secrets.token_hex(6)}")
    variables: OwnSecrets = field(default_factory=OwnSecrets)
    clock: BlockingClock = field(default_factory=HastyClock)
    kind: VaultKind | None = None
    undo: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admin = hvac.Client(
            self.address, token=self.token, namespace=self.namespace or None, verify=self.ca_file or True
        )
        self.admin.session.trust_env = False
        self.kind = VaultKind(self.clock)

    def close(self) -> None:
        """Removes what was prepared, the newest first."""
        while self.undo:
            self.undo.pop()()
        self.admin.adapter.close()

    @property
    def faults(self) -> VaultNode:
        assert self.node is not None
        return self.node

    def advance(self, seconds: float) -> None:
        """Lets time pass, in the Vault and for who reads from it."""
        self.faults.vault.advance(seconds)
        self.clock.wait(seconds)

    def mount(self, name: str, kind: str, version: int = 0) -> str:
        """An engine's path."""
        path = f"{self.base}/{name}"
        options = {"version": str(version)} if version else None
        self.admin.sys.enable_secrets_engine(kind, path=path, options=options)
        self.undo.append(lambda: self.admin.sys.disable_secrets_engine(path))
        if version == 2:
            self._wait_for(path)
        return path

    def _wait_for(self, mount: str) -> None:
        """A real Vault says for a moment that it upgrades a new engine of KV."""
        for _ in range(READY_POLLS_MAX):
            try:
                self.admin.secrets.kv.v2.list_secrets("", mount_point=mount)
            except InvalidPath:
                return
            except InvalidRequest:
                ThreadClock().wait(READY_POLL_SECONDS)
            else:
                return
        raise AssertionError(f"the engine at {mount} does not become ready")

    def enable(self, name: str, kind: str) -> str:
        """A way to log in."""
        path = f"{self.base}-{name}"
        self.admin.sys.enable_auth_method(kind, path=path)
        self.undo.append(lambda: self.admin.sys.disable_auth_method(path))
        return path

    def policy(self, text: str) -> str:
        """A policy's name."""
        name = f"{self.base}-{secrets.token_hex(3)}"
        self.admin.sys.create_or_update_policy(name, text)
        self.undo.append(lambda: self.admin.sys.delete_policy(name))
        return name

    def allow(self, *paths: str, capabilities: str = "read") -> str:
        """A policy for those paths alone."""
        return self.policy("\n".join(f'path "{path}" {{ capabilities = ["{capabilities}"] }}' for path in paths))

    def token_with(self, *policies: str, **options: Any) -> str:
        """A token with those policies and the default one."""
        found = self.admin.auth.token.create(policies=list(policies), no_parent=True, **options)["auth"]["client_token"]
        self.undo.append(lambda: _quietly(lambda: self.admin.auth.token.revoke(found)))
        return str(found)

    def app_role(self, *policies: str, **options: Any) -> tuple[str, str]:
        """Where it is mounted, and the role's id; its secret id is the variable SECRET_ID."""
        mount = self.enable("approle", "approle")
        self.admin.auth.approle.create_or_update_approle(
            "reader", token_policies=list(policies), mount_point=mount, **options
        )
        role_id = self.admin.auth.approle.read_role_id("reader", mount_point=mount)["data"]["role_id"]
        self.variables.values["SECRET_ID"] = self.secret_id(mount)
        return mount, str(role_id)

    def secret_id(self, mount: str) -> str:
        return str(self.admin.auth.approle.generate_secret_id("reader", mount_point=mount)["data"]["secret_id"])

    def wrapped_secret_id(self, mount: str) -> str:
        found = self.admin.auth.approle.generate_secret_id("reader", mount_point=mount, wrap_ttl="120s")
        return str(found["wrap_info"]["token"])

    def open(
        self,
        options: Mapping[str, str] | None = None,
        references: Mapping[str, SecretRef] | None = None,
        *,
        address: str = "",
        timeout_seconds: float = 10.0,
    ) -> VaultBackend:
        """A backend: logged in to by the administrator's token where no other login is given."""
        assert self.kind is not None
        if references is None:
            self.variables.values["TOKEN"] = self.token
            references = {"token": own("TOKEN")}
        said = {"address": address or self.address, "namespace": self.namespace, "ca_file": self.ca_file}
        found = self.kind.open(
            BackendOptions("vault", said | dict(options or {}), references, self.variables, timeout_seconds)
        )
        self.undo.append(found.close)
        return found

    def with_token(self, token: str, **options: str) -> VaultBackend:
        """A backend with a token of its own."""
        self.variables.values["OWN_TOKEN"] = token
        return self.open(options, {"token": own("OWN_TOKEN")})

    def by_app_role(self, mount: str, role_id: str, *, is_wrapped: bool = False, address: str = "") -> VaultBackend:
        """A backend that logs in by AppRole."""
        options = {"app_role.mount": mount, "app_role.role_id": role_id, "app_role.is_wrapped": str(is_wrapped).lower()}
        return self.open(options, {"app_role.secret_id": own("SECRET_ID")}, address=address)


def _quietly(call: Callable[[], object]) -> None:
    """What has ended already need not be ended."""
    try:
        call()
    except VaultError:
        return


def is_real() -> bool:
    """Whether there is a Vault to try it on."""
    return bool(os.environ.get("VAULT_ADDR") and os.environ.get("VAULT_TOKEN"))


@contextmanager
def vault_scene() -> Iterator[VaultScene]:
    """In the real Vault that VAULT_ADDR and VAULT_TOKEN name, otherwise in the stand-in."""
    if is_real():
        scene = VaultScene(
            os.environ["VAULT_ADDR"],
            os.environ["VAULT_TOKEN"],
            namespace=os.environ.get("VAULT_NAMESPACE", ""),
            ca_file=os.environ.get("VAULT_CACERT", ""),
        )
        try:
            yield scene
        finally:
            scene.close()
        return
    with stand_in_scene() as scene:
        yield scene


@contextmanager
def stand_in_scene() -> Iterator[VaultScene]:
    """In the stand-in, whatever there is: for what no test may do to a real Vault."""
    with running_vault() as node:
        scene = VaultScene(node.address, node.vault.root, node)
        try:
            yield scene
        finally:
            node.faults.clear()
            node.vault.is_sealed = False
            scene.close()
