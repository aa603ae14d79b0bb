"""The ways to log in to a Vault: a token, AppRole, the service account of a pod, a JWT. Each gives a token and what Vault says of it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac

from pymigrate.engine.adapters.secrets.vault import APP_ROLE, KUBERNETES, TOKEN, Unwrapped, VaultPlace
from pymigrate.engine.adapters.secrets.vault_saying import error_of
from pymigrate.engine.adapters.secrets.vault_transport import VaultPool, VaultRefusal, VaultTransport
from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing, SecretRefused
from pymigrate.engine.ports.secrets import RotatingSecrets, Secret, SecretRef

TOKEN_FILE_BYTES_MAX = 64 << 10
NOT_LET_IN = frozenset({400, 403, 404})


@dataclass(frozen=True, slots=True)
class Entered:
    """A token, its life from now in seconds, 0 for no end, and whether it can be given more and is ours to give up."""

    token: str = field(repr=False)
    seconds: float
    is_renewable: bool
    is_own: bool = True


def client_with(pool: VaultPool, token: str = "") -> hvac.Client:
    """hvac's calls with a token, over the one pool."""
    return hvac.Client(
        url=pool.place.address,
        token=token,
        verify=True,
        adapter=functools.partial(_transport, pool),  # type: ignore[arg-type]  # hvac calls it as it would call a class
    )


def _transport(pool: VaultPool, token: str = "", **_: object) -> VaultTransport:
    return VaultTransport(pool, token)


@dataclass(frozen=True, slots=True)
class Door:
    """Logs in to one Vault by the one method that is declared. Each call is another login."""

    pool: VaultPool
    unwrapped: Unwrapped

    @property
    def place(self) -> VaultPlace:
        """Where it leads to."""
        return self.pool.place

    def enter(self) -> Entered:
        """Raises SecretRefused where Vault does not let one in, SecretMissing where what one logs in with is not there."""
        login = self.place.login
        if login.method == TOKEN:
            return self._by_token()
        if login.method == APP_ROLE:
            return self._by_app_role()
        client = client_with(self.pool)
        if login.method == KUBERNETES:
            jwt = _service_account(login.token_file)
            call = functools.partial(
                client.auth.kubernetes.login, login.role, jwt, use_token=False, mount_point=login.mount
            )
            return self._entered(call, f"the login at auth/{login.mount} as `{login.role}`")
        jwt = self._own_secret(login.reference).reveal().strip()
        call = functools.partial(client.auth.jwt.jwt_login, login.role or None, jwt, use_token=False, path=login.mount)
        return self._entered(call, f"the login at auth/{login.mount} as `{login.role or 'default'}`")

    def _by_token(self) -> Entered:
        token = self._own_secret(self.place.login.reference).reveal().strip()
        asked = f"the token of {self.place.login.reference}"
        try:
            found = client_with(self.pool, token).auth.token.lookup_self()["data"]
        except VaultRefusal as refusal:
            advice = (
                "it has ended or was revoked, or its policies leave out auth/token/lookup-self, which `default` has"
            )
            raise error_of(asked, refusal, advice if refusal.status == 403 else "") from None
        if not isinstance(found, dict):
            raise SecretRefused(f"{asked}: Vault does not say what it is good for")
        return Entered(token, float(found.get("ttl") or 0), bool(found.get("renewable")), is_own=False)

    def _by_app_role(self) -> Entered:
        login = self.place.login
        secret = self._own_secret(login.reference)
        secret_id = (self._taken_out(secret) if login.is_wrapped else secret).reveal().strip()
        call = functools.partial(
            client_with(self.pool).auth.approle.login, login.role, secret_id, use_token=False, mount_point=login.mount
        )
        return self._entered(call, f"the login at auth/{login.mount} as `{login.role}`")

    def _taken_out(self, wrapping: Secret) -> Secret:
        """The secret id that a wrapping token wraps. It is looked at before: one that something else than the role made is refused."""
        known = self.unwrapped.of(wrapping)
        if known is not None:
            return known
        token, login = wrapping.reveal().strip(), self.place.login
        asked = f"the wrapping token of {login.reference}"
        try:
            origin = client_with(self.pool).adapter.post("/v1/sys/wrapping/lookup", json={"token": token})
            path = str(origin.get("data", {}).get("creation_path", ""))
            if not path.startswith(f"auth/{login.mount}/role/") or not path.endswith(
                ("/secret-id", "/custom-secret-id")
            ):
                raise SecretRefused(
                    f"{asked} was not made by auth/{login.mount}, but at `{path}`: somebody may have put it in place of the true "
                    "one, which is to be taken for known to them: destroy the secret id and find out who"
                )
            found = client_with(self.pool, token).sys.unwrap()
        except VaultRefusal as refusal:
            advice = (
                "it was used before, or has ended. If nothing of yours used it, it may have been intercepted: destroy the secret "
                "id that it wrapped, find out who, and hand out a new one, to each process its own"
            )
            raise _refused(asked, refusal, advice) from None
        secret_id = found.get("data", {}).get("secret_id")
        if not isinstance(secret_id, str) or not secret_id:
            raise SecretRefused(f"{asked} wraps no secret id")
        secret = Secret(secret_id)
        self.unwrapped.keep(wrapping, secret)
        return secret

    def _entered(self, call: Callable[[], Any], asked: str) -> Entered:
        try:
            answer = call()
        except VaultRefusal as refusal:
            raise _refused(asked, refusal) from None
        auth = answer.get("auth")
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if not isinstance(auth, dict) or not isinstance(token, str) or not token:
            raise SecretRefused(f"{asked}: Vault gave no token: a second factor, which it may ask for, no machine has")
        return Entered(token, float(auth.get("lease_duration") or 0), bool(auth.get("renewable")))

    def _own_secret(self, ref: SecretRef | None) -> Secret:
        """What one logs in with, read anew each time: something beside may put another in its place."""
        if ref is None:
            raise SecretMissing("the login leads to no secret")
        secrets = self.place.secrets
        return secrets.reread(ref) if isinstance(secrets, RotatingSecrets) else secrets.read(ref)


def _refused(asked: str, refusal: VaultRefusal, advice: str = "") -> PyMigrateError:
    """A login that Vault says no to is refused, whatever the status: a role that is not there too."""
    error = error_of(asked, refusal, advice or "it is not let in")
    return SecretRefused(error.message) if refusal.status in NOT_LET_IN else error


def _service_account(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(TOKEN_FILE_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise SecretMissing(f"the service account's token in {path}: {why} where it is read") from None
