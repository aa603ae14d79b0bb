"""The ways to log in to a Vault: tokens, AppRole, Kubernetes and JWT, with roles, lives and policies."""

import base64
import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.vaults.core import LEASE_SECONDS, Answer, Asked, Entry, Refused, Token, Vault, denied, whole
from tests.vaults.engines import seconds_of, unsupported
from tests.vaults.policies import DEFAULT


def auth(token: Token) -> dict[str, Any]:
    """What a login answers."""
    return {
        "client_token": token.id,
        "accessor": token.accessor,
        "policies": list(token.names),
        "token_policies": list(token.names),
        "metadata": {},
        "lease_duration": int(token.seconds),
        "renewable": token.is_renewable,
        "entity_id": "",
        "token_type": token.kind,
        "orphan": True,
        "mfa_requirement": None,
        "num_uses": token.uses_left,
    }


def names_of(value: object) -> tuple[str, ...]:
    """Policies, as a list or as words between commas, always with the default one."""
    words = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, Iterable) else []
    return tuple(dict.fromkeys([DEFAULT, *(word.strip() for word in words if word.strip())]))


class Tokens:
    kind = "token"

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def answer(self, asked: Asked, rest: str, token: Token | None) -> Answer:
        if token is None:
            raise denied()
        match rest:
            case "create" | "create-orphan":
                return self._create(asked, token, is_orphan=rest != "create")
            case "lookup-self":
                return self._looked_up(token)
            case "lookup":
                return self._looked_up(self._named(asked))
            case "renew-self":
                return self._renewed(token, asked)
            case "revoke-self":
                if token.kind == "batch":
                    raise Refused(400, "batch tokens cannot be revoked")
                self._vault.revoke_token(token)
            case "revoke":
                self._vault.revoke_token(self._named(asked))
            case "revoke-accessor":
                for each in list(self._vault.tokens.values()):
                    if each.accessor == asked.body.get("accessor"):
                        self._vault.revoke_token(each)
            case _:
                raise unsupported()
        return Answer(204)

    def _named(self, asked: Asked) -> Token:
        found = self._vault.tokens.get(str(asked.body.get("token", "")))
        if found is None:
            raise Refused(403, "bad token")
        return found

    def _create(self, asked: Asked, token: Token, *, is_orphan: bool) -> Answer:
        body = asked.body
        made = self._vault.new_token(
            names_of(body.get("policies")),
            asked.namespace,
            seconds_of(body.get("ttl"), LEASE_SECONDS),
            seconds_max=seconds_of(body.get("explicit_max_ttl")),
            is_renewable=bool(body.get("renewable", True)),
            kind=str(body.get("type") or "service"),
            uses_left=int(body.get("num_uses") or 0),
            parent="" if is_orphan or body.get("no_parent") else token.id,
        )
        return Answer(200, whole(auth=auth(made)))

    def _looked_up(self, token: Token) -> Answer:
        data = {
            "accessor": token.accessor,
            "creation_ttl": int(token.seconds),
            "display_name": "token",
            "expire_time": self._vault.stamp(token.ends - self._vault.seconds) if token.ends else None,
            "id": token.id,
            "num_uses": token.uses_left,
            "orphan": not token.parent,
            "path": token.path,
            "policies": list(token.names),
            "renewable": token.is_renewable and bool(token.ends),
            "ttl": int(token.ends - self._vault.seconds) if token.ends else 0,
            "type": token.kind,
        }
        return Answer(200, whole(data=data))

    def _renewed(self, token: Token, asked: Asked) -> Answer:
        if not token.is_renewable or not token.ends:
            raise Refused(400, "lease is not renewable")
        life, token.ends = self._vault.renewed(token.ends_max, seconds_of(asked.body.get("increment"), token.seconds))
        return Answer(200, whole(auth={**auth(token), "lease_duration": int(life)}))


class Roles:
    """What logins have in common: roles, whose tokens they give."""

    kind = ""

    def __init__(self, vault: Vault, mount: str) -> None:
        self.vault = vault
        self.mount = mount
        self.config: dict[str, Any] = {}
        self.roles: dict[str, dict[str, Any]] = {}

    def entered(self, asked: Asked, role: dict[str, Any]) -> Answer:
        token = self.vault.new_token(
            names_of(role.get("token_policies") or role.get("policies")),
            asked.namespace,
            seconds_of(role.get("token_ttl"), LEASE_SECONDS),
            seconds_max=seconds_of(role.get("token_max_ttl")),
            kind=str(role.get("token_type") or "service").removeprefix("default-"),
            path=f"auth/{self.mount}/login",
        )
        return Answer(200, whole(auth=auth(token)))

    def configured(self, asked: Asked, rest: str) -> Answer:
        if asked.method not in {"POST", "PUT"}:
            raise unsupported()
        if rest == "config":
            self.config = dict(asked.body)
            return Answer(204)
        operation, _, name = rest.partition("/")
        if operation != "role" or "/" in name:
            raise unsupported()
        self.roles[name] = {**self.roles.get(name, {}), **asked.body}
        return Answer(204)


@dataclass
class SecretId:
    role: str
    ends: float
    uses_left: int


class AppRole(Roles):
    kind = "approle"

    def __init__(self, vault: Vault, mount: str) -> None:
        super().__init__(vault, mount)
        self._secret_ids: dict[str, SecretId] = {}

    def answer(self, asked: Asked, rest: str, token: Token | None) -> Answer:
        parts = rest.split("/")
        match parts:
            case ["login"]:
                return self._login(asked)
            case ["role", name, "role-id"] if name in self.roles:
                return Answer(200, whole(data={"role_id": self.roles[name]["role_id"]}))
            case ["role", name, "secret-id"] if name in self.roles:
                return self._secret_id(name)
            case ["role", _, "secret-id", "destroy"]:
                self._secret_ids.pop(str(asked.body["secret_id"]), None)
                return Answer(204)
            case ["role", name]:
                answer = self.configured(asked, rest)
                self.roles[name].setdefault("role_id", secrets.token_hex(16))
                return answer
        raise unsupported()

    def _secret_id(self, name: str) -> Answer:
        role = self.roles[name]
        seconds = seconds_of(role.get("secret_id_ttl"))
        made = secrets.token_hex(16)
        ends = self.vault.seconds + seconds if seconds else 0.0
        self._secret_ids[made] = SecretId(name, ends, int(role.get("secret_id_num_uses") or 0))
        data = {
            "secret_id": made,
            "secret_id_accessor": secrets.token_hex(16),
            "secret_id_num_uses": self._secret_ids[made].uses_left,
            "secret_id_ttl": int(seconds),
        }
        return Answer(200, whole(data=data))

    def _login(self, asked: Asked) -> Answer:
        name = next((name for name, role in self.roles.items() if role["role_id"] == asked.body.get("role_id")), None)
        secret_id = self._secret_ids.get(str(asked.body.get("secret_id", "")))
        if name is None:
            raise Refused(400, "invalid role ID")
        if secret_id is None or secret_id.role != name or (secret_id.ends and secret_id.ends <= self.vault.seconds):
            raise Refused(400, "invalid secret id")
        if secret_id.uses_left:
            secret_id.uses_left -= 1
            if not secret_id.uses_left:
                del self._secret_ids[str(asked.body["secret_id"])]
        return self.entered(asked, self.roles[name])


class Jwts(Roles):
    """Logins by JWTs, signed with RS256."""

    kind = "jwt"
    keys = "jwt_validation_pubkeys"

    def answer(self, asked: Asked, rest: str, token: Token | None) -> Answer:
        if rest != "login":
            return self.configured(asked, rest)
        name = str(asked.body.get("role") or self.config.get("default_role") or "")
        if name not in self.roles:
            raise self.unknown(name)
        role = self.roles[name]
        self.check(role, self.claims(str(asked.body.get("jwt", ""))))
        return self.entered(asked, role)

    def unknown(self, name: str) -> Refused:
        return Refused(400, f'role "{name}" could not be found')

    def refused(self, why: str) -> Refused:
        return Refused(400, f"error validating token: {why}")

    def check(self, role: dict[str, Any], claims: dict[str, Any]) -> None:
        found = claims.get("aud", [])
        audiences = set(found if isinstance(found, list) else [found])
        if not audiences & set(role.get("bound_audiences") or audiences):
            raise self.refused("invalid audience (aud) claim: audience claim does not match any bound audience")
        for name, wanted in (role.get("bound_claims") or {}).items():
            if claims.get(name) not in (wanted if isinstance(wanted, list) else [wanted]):
                raise self.refused(f'claim "{name}" does not match any associated bound claim values')

    def claims(self, jwt: str) -> dict[str, Any]:
        head, _, rest = jwt.partition(".")
        payload, _, signature = rest.partition(".")
        for pem in self.config.get(self.keys) or []:
            key = serialization.load_pem_public_key(pem.encode())
            if not isinstance(key, rsa.RSAPublicKey):
                continue
            try:
                key.verify(_decoded(signature), f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
            except (InvalidSignature, ValueError):
                continue
            claims: dict[str, Any] = json.loads(_decoded(payload))
            if claims.get("exp", 0) <= self.vault.now().timestamp():
                raise self.refused("invalid expiration time (exp) claim: token is expired")
            return claims
        raise self.refused("error verifying token signature: no known key successfully validated the token signature")


class Kubernetes(Jwts):
    kind = "kubernetes"
    keys = "pem_keys"

    def unknown(self, name: str) -> Refused:
        return Refused(400, f'invalid role name "{name}"')

    def refused(self, why: str) -> Refused:
        return Refused(403, "permission denied")

    def check(self, role: dict[str, Any], claims: dict[str, Any]) -> None:
        _, _, namespace, account = (str(claims.get("sub", "")).split(":") + [""] * 4)[:4]
        if account not in role["bound_service_account_names"]:
            raise Refused(403, "service account name not authorized")
        if namespace not in role["bound_service_account_namespaces"]:
            raise Refused(403, "namespace not authorized")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Signer:
    """Signs JWTs, as a cluster or a CI system does."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        self.public = (
            self._key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def sign(self, **claims: Any) -> str:
        parts = [
            base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode()
            for each in ({"alg": "RS256", "typ": "JWT"}, claims)
        ]
        signature = self._key.sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
        return ".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=").decode()])


ENTRIES: dict[str, Callable[[Vault, str], Entry]] = {
    "token": lambda vault, _: Tokens(vault),
    "approle": AppRole,
    "jwt": Jwts,
    "kubernetes": Kubernetes,
}
