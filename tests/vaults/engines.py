"""The secret engines of a Vault: KV in both versions, databases, transit."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vaults.core import LEASE_SECONDS, Answer, Asked, Engine, Refused, Token, Vault, whole

VERSIONS_MAX = 10
NONCE_BYTES = 12
DEFAULT_SECONDS = 3_600.0


def unsupported() -> Refused:
    return Refused(405, "1 error occurred:\n\t* unsupported operation\n\n")


def seconds_of(value: object, default: float = 0.0) -> float:
    """A duration as Vault reads it: a number of seconds, or `30s`, `5m`, `1h`."""
    text = str(value or "")
    if not text:
        return default
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)


class KvV1:
    kind = "kv"

    def __init__(self) -> None:
        self._secrets: dict[str, dict[str, Any]] = {}

    def options(self) -> dict[str, str]:
        return {"version": "1"}

    def answer(self, asked: Asked, rest: str, token: Token) -> Answer:
        if asked.method in {"POST", "PUT"}:
            self._secrets[rest] = dict(asked.body)
            return Answer(204)
        if asked.method == "DELETE":
            self._secrets.pop(rest, None)
            return Answer(204)
        if rest not in self._secrets:
            raise Refused(404)
        return Answer(200, whole(data=self._secrets[rest], lease_duration=int(LEASE_SECONDS)))


@dataclass
class Version:
    number: int
    data: dict[str, Any] | None
    created: str
    deleted: str = ""
    is_destroyed: bool = False

    def metadata(self) -> dict[str, Any]:
        return {
            "created_time": self.created,
            "custom_metadata": None,
            "deletion_time": self.deleted,
            "destroyed": self.is_destroyed,
            "version": self.number,
        }


class KvV2:
    kind = "kv"

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._secrets: dict[str, list[Version]] = {}

    def options(self) -> dict[str, str]:
        return {"version": "2"}

    def answer(self, asked: Asked, rest: str, token: Token) -> Answer:
        operation, _, path = rest.partition("/")
        match operation, asked.method:
            case "data", "GET":
                return self._read(path, int(asked.query.get("version", "0")))
            case "data", "POST" | "PUT":
                return self._write(path, dict(asked.body["data"]))
            case "data", "DELETE":
                self._delete(path, [self._known(path)[-1].number])
            case "delete", "POST" | "PUT":
                self._delete(path, asked.body["versions"])
            case "undelete", "POST" | "PUT":
                for version in self._chosen(path, asked.body["versions"]):
                    version.deleted = ""
            case "destroy", "POST" | "PUT":
                for version in self._chosen(path, asked.body["versions"]):
                    version.is_destroyed, version.data = True, None
            case "metadata", "DELETE":
                self._secrets.pop(path, None)
            case "metadata", "GET":
                versions = {str(each.number): each.metadata() for each in self._known(path)}
                current = self._known(path)[-1].number
                return Answer(200, whole(data={"current_version": current, "versions": versions}))
            case _:
                raise Refused(
                    404,
                    document=whole(
                        warnings=[
                            "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use."
                        ]
                    ),
                )
        return Answer(204)

    def _known(self, path: str) -> list[Version]:
        if not self._secrets.get(path):
            raise Refused(404)
        return self._secrets[path]

    def _chosen(self, path: str, numbers: list[int]) -> list[Version]:
        return [version for version in self._known(path) if version.number in {int(number) for number in numbers}]

    def _read(self, path: str, number: int) -> Answer:
        versions = self._known(path)
        found = versions[-1] if not number else next((each for each in versions if each.number == number), None)
        if found is None:
            raise Refused(404)
        data = {"data": found.data, "metadata": found.metadata()}
        if found.is_destroyed or found.deleted:
            raise Refused(404, document=whole(data={**data, "data": None}))
        return Answer(200, whole(data=data))

    def _write(self, path: str, data: dict[str, Any]) -> Answer:
        versions = self._secrets.setdefault(path, [])
        versions.append(Version(versions[-1].number + 1 if versions else 1, data, self._vault.stamp()))
        del versions[:-VERSIONS_MAX]
        return Answer(200, whole(data=versions[-1].metadata()))

    def _delete(self, path: str, numbers: list[int]) -> None:
        for version in self._chosen(path, numbers):
            version.deleted = version.deleted or self._vault.stamp()


class Database:
    """Makes users of databases. Where a connection's plugin is PostgreSQL's and it has a URL, they are real ones."""

    kind = "database"

    def __init__(self, vault: Vault, path: str) -> None:
        self._vault = vault
        self._path = path
        self._configs: dict[str, dict[str, Any]] = {}
        self._roles: dict[str, dict[str, Any]] = {}
        self._static: dict[str, dict[str, Any]] = {}

    def options(self) -> dict[str, str]:
        return {}

    def answer(self, asked: Asked, rest: str, token: Token) -> Answer:
        operation, _, name = rest.partition("/")
        is_write = asked.method in {"POST", "PUT"}
        match operation:
            case "config" if is_write:
                self._configs[name] = dict(asked.body)
            case "roles" if is_write:
                self._roles[name] = dict(asked.body)
            case "static-roles" if is_write:
                self._static[name] = {**asked.body, "password": "", "rotated": 0.0}
                self._rotate(name)
            case "rotate-role" if is_write:
                self._rotate(name)
            case "creds" if asked.method == "GET":
                return self._credentials(name, token)
            case "static-creds" if asked.method == "GET":
                return self._static_credentials(name)
            case _:
                raise unsupported()
        return Answer(204)

    def _run(self, config: str, statements: list[str]) -> None:
        settings = self._configs[config]
        url = str(settings.get("connection_url", ""))
        if settings.get("plugin_name") != "postgresql-database-plugin" or not url:
            return
        for name in ("username", "password"):
            url = url.replace(_gap(name), str(settings.get(name, "")))
        try:
            with psycopg.connect(url) as connection:
                for statement in statements:
                    connection.execute(statement.encode())
        except psycopg.OperationalError as error:
            raise Refused(500, "1 error occurred:\n\t* failed to connect to the database\n\n") from error

    def _credentials(self, name: str, token: Token) -> Answer:
        role = self._roles.get(name)
        if role is None:
            raise Refused(400, f"unknown role: {name}")
        seconds = seconds_of(role.get("default_ttl"), DEFAULT_SECONDS)
        seconds_max = seconds_of(role.get("max_ttl"), LEASE_SECONDS)
        user = f"v-{token.path.split('/')[1][:8]}-{name[:8]}-{secrets.token_hex(10)}"
        words = {"name": user, "username": user, "password": f"A1a-{secrets.token_urlsafe(16)}"}
        config = str(role["db_name"])

        def run(key: str, default: list[str], lasting: float = seconds) -> None:
            statements = role.get(key) or default
            filled = [_filled(each, words | {"expiration": self._vault.stamp(lasting)}) for each in statements]
            self._run(config, filled)

        run("creation_statements", [])
        lease = self._vault.new_lease(
            f"{self._path}/creds/{name}",
            token,
            seconds,
            seconds_max,
            lambda: run("revocation_statements", ['DROP ROLE IF EXISTS "{{name}}"']),
            lambda lasting: run("renew_statements", ["ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'"], lasting),
        )
        data = {"username": user, "password": words["password"]}
        return Answer(200, whole(lease_id=lease.id, renewable=True, lease_duration=int(seconds), data=data))

    def _rotate(self, name: str) -> None:
        role = self._static.get(name)
        if role is None:
            raise Refused(400, f"no static role found for role name: {name}")
        role["password"], role["rotated"] = f"A1a-{secrets.token_urlsafe(16)}", self._vault.seconds
        role["stamp"] = self._vault.stamp()
        statements = role.get("rotation_statements") or ["ALTER USER \"{{name}}\" WITH PASSWORD '{{password}}'"]
        words = {"name": role["username"], "username": role["username"], "password": role["password"]}
        self._run(str(role["db_name"]), [_filled(each, words) for each in statements])

    def _static_credentials(self, name: str) -> Answer:
        role = self._static.get(name)
        if role is None:
            raise Refused(400, f"unknown role: {name}")
        period = seconds_of(role.get("rotation_period"), 86_400.0)
        if self._vault.seconds >= role["rotated"] + period:
            self._rotate(name)
        data = {
            "username": role["username"],
            "password": role["password"],
            "last_vault_rotation": role["stamp"],
            "rotation_period": int(period),
            "ttl": int(role["rotated"] + period - self._vault.seconds),
        }
        return Answer(200, whole(data=data))


def _gap(name: str) -> str:
    return "{{" + name + "}}"


def _filled(statement: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        statement = statement.replace(_gap(name), word)
    return statement


@dataclass
class Keys:
    versions: list[bytes] = field(default_factory=list)


class Transit:
    kind = "transit"

    def __init__(self) -> None:
        self._keys: dict[str, Keys] = {}

    def options(self) -> dict[str, str]:
        return {}

    def answer(self, asked: Asked, rest: str, token: Token) -> Answer:
        if asked.method not in {"POST", "PUT"}:
            raise unsupported()
        parts = rest.split("/")
        match parts:
            case ["keys", name]:
                self._keys.setdefault(name, Keys([secrets.token_bytes(32)]))
                return Answer(204)
            case ["keys", name, "rotate"]:
                self._known(name).versions.append(secrets.token_bytes(32))
                return Answer(204)
            case ["encrypt", name]:
                return Answer(200, whole(data=self._encrypted(name, base64.b64decode(asked.body["plaintext"]))))
            case ["datakey", "wrapped", name]:
                return Answer(200, whole(data=self._encrypted(name, secrets.token_bytes(32))))
            case ["decrypt", name]:
                plain = base64.b64encode(self._decrypted(name, str(asked.body.get("ciphertext", "")))).decode()
                return Answer(200, whole(data={"plaintext": plain}))
        raise unsupported()

    def _known(self, name: str) -> Keys:
        if name not in self._keys:
            raise Refused(400, "encryption key not found")
        return self._keys[name]

    def _encrypted(self, name: str, plain: bytes) -> dict[str, Any]:
        versions = self._known(name).versions
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + AESGCM(versions[-1]).encrypt(nonce, plain, None)
        return {
            "ciphertext": f"vault:v{len(versions)}:{base64.b64encode(sealed).decode()}",
            "key_version": len(versions),
        }

    def _decrypted(self, name: str, ciphertext: str) -> bytes:
        versions = self._known(name).versions
        if not ciphertext.startswith("vault:v"):
            raise Refused(400, "invalid ciphertext: no prefix")
        number, _, text = ciphertext.removeprefix("vault:v").partition(":")
        if not number.isdecimal() or not 0 < int(number) <= len(versions):
            raise Refused(400, "invalid ciphertext: version could not be decoded")
        try:
            sealed = base64.b64decode(text, validate=True)
            return AESGCM(versions[int(number) - 1]).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
        except (ValueError, InvalidTag) as error:
            raise Refused(400, "invalid ciphertext: unable to decrypt") from error


ENGINES: dict[str, Callable[[Vault, str, dict[str, Any]], Engine]] = {
    "kv": lambda vault, _, options: KvV2(vault) if str(options.get("version", "1")) == "2" else KvV1(),
    "database": lambda vault, path, _: Database(vault, path),
    "transit": lambda *_: Transit(),
}
