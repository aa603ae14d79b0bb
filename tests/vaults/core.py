"""A Vault's state, and what it answers: tokens and leases with their lives, policies, namespaces, wrapping, its seal.

It answers as Vault's HTTP API is documented to, in status codes, bodies and words. Engines, ways to log in and `sys` are other
modules. Time is the test's.
"""

import itertools
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from tests.vaults import policies
from tests.vaults.policies import DEFAULT, DEFAULT_RULES, ROOT, Policy

LEASE_SECONDS = 2_764_800.0  # 768 hours, as Vault has it
CAPABILITIES = {"GET": "read", "LIST": "list", "DELETE": "delete", "POST": "update", "PUT": "update"}
WRITING = frozenset({"POST", "PUT", "DELETE"})


class Refused(Exception):
    """An answer that is none of success."""

    def __init__(self, status: int, *errors: str, document: Mapping[str, Any] | None = None) -> None:
        super().__init__(status, *errors)
        self.status = status
        self.document = document if document is not None else {"errors": list(errors)}


def denied() -> Refused:
    return Refused(403, "1 error occurred:\n\t* permission denied\n\n")


@dataclass(frozen=True)
class Asked:
    """A request: `path` without `v1/`."""

    method: str
    path: str
    body: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    from_port: int = 0

    @property
    def namespace(self) -> str:
        return self.headers.get("x-vault-namespace", "").strip("/")

    @property
    def token(self) -> str:
        return self.headers.get("x-vault-token", "")


@dataclass
class Answer:
    """What is answered; `status` 204 has no body."""

    status: int = 200
    document: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Token:
    id: str
    accessor: str
    names: tuple[str, ...]  # of its policies
    namespace: str
    seconds: float = 0.0
    ends: float = 0.0  # 0: never
    ends_max: float = 0.0
    is_renewable: bool = True
    kind: str = "service"
    uses_left: int = 0
    parent: str = ""
    path: str = "auth/token/create"


@dataclass
class Lease:
    id: str
    token: str
    namespace: str
    seconds: float
    ends: float
    ends_max: float
    end: Callable[[], None]  # does away with what was made
    extend: Callable[[float], None]


@dataclass
class Wrapped:
    answer: dict[str, Any]
    path: str
    created: str
    seconds: int


class Engine(Protocol):
    """What is mounted at a path and answers below it."""

    kind: str

    def options(self) -> dict[str, str]: ...

    def answer(self, asked: Asked, rest: str, token: Token) -> Answer: ...


class Entry(Protocol):
    """A way to log in, mounted below auth/."""

    kind: str

    def answer(self, asked: Asked, rest: str, token: Token | None) -> Answer: ...


@dataclass
class Namespace:
    engines: dict[str, Engine] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=lambda: {DEFAULT: policies.parsed(DEFAULT_RULES)})


def whole(**parts: Any) -> dict[str, Any]:
    """An answer's document with all that each has."""
    return {
        "request_id": secrets.token_hex(16),
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": None,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
        **parts,
    }


class Vault:
    """One Vault. Safe on every thread."""

    version = "1.20.0"

    def __init__(self, started: datetime) -> None:
        self._lock = threading.RLock()
        self._started = started
        self.seconds = 0.0
        self.is_sealed = False
        self.writes = 0
        self.namespaces: dict[str, Namespace] = {"": Namespace()}
        self.tokens: dict[str, Token] = {}
        self.leases: dict[str, Lease] = {}
        self.wrapped: dict[str, Wrapped] = {}
        self.asked: list[Asked] = []
        self.system: Callable[[Vault, Asked, str, Token | None], Answer | None] = lambda *_: None
        self._numbers = itertools.count(1)
        self.root = self.new_token((ROOT,), "").id

    def now(self) -> datetime:
        return self._started + timedelta(seconds=self.seconds)

    def stamp(self, seconds: float = 0.0) -> str:
        """A time as Vault writes it, so many seconds from now."""
        return (self.now() + timedelta(seconds=seconds)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def advance(self, seconds: float) -> None:
        """Lets time pass, and ends what ends by then."""
        with self._lock:
            self.seconds += seconds
            self._sweep()

    def new_token(self, names: tuple[str, ...], namespace: str, seconds: float = 0.0, **more: Any) -> Token:
        ends_max = more.pop("seconds_max", 0.0)
        token = Token(
            f"hvs.{secrets.token_urlsafe(24)}",
            secrets.token_urlsafe(18),
            names,
            namespace,
            seconds,
            self.seconds + seconds if seconds else 0.0,
            self.seconds + ends_max if ends_max else 0.0,
            **more,
        )
        if token.kind == "batch":
            token.is_renewable = False
        self.tokens[token.id] = token
        return token

    def new_lease(
        self,
        path: str,
        token: Token,
        seconds: float,
        seconds_max: float,
        end: Callable[[], None],
        extend: Callable[[float], None] = lambda _: None,
    ) -> Lease:
        lease = Lease(
            f"{path}/{secrets.token_urlsafe(18)}",
            token.id,
            token.namespace,
            seconds,
            self.seconds + seconds,
            self.seconds + (seconds_max or LEASE_SECONDS),
            end,
            extend,
        )
        self.leases[lease.id] = lease
        return lease

    def revoke_token(self, token: Token) -> None:
        """With all that was made by it: leases, and tokens."""
        self.tokens.pop(token.id, None)
        for lease in [lease for lease in self.leases.values() if lease.token == token.id]:
            self.revoke_lease(lease)
        for child in [child for child in self.tokens.values() if child.parent == token.id]:
            self.revoke_token(child)

    def revoke_lease(self, lease: Lease) -> None:
        if self.leases.pop(lease.id, None) is not None:
            lease.end()

    def revoke_prefix(self, prefix: str) -> None:
        with self._lock:
            for lease in [lease for lease in self.leases.values() if lease.id.startswith(prefix)]:
                self.revoke_lease(lease)

    def renewed(self, ends_max: float, seconds: float) -> tuple[float, float]:
        """A life from now and its end, within a limit."""
        ends = min(self.seconds + seconds, ends_max or self.seconds + seconds)
        return ends - self.seconds, ends

    def handle(self, asked: Asked) -> Answer:
        """The answer to a request. Raises Refused."""
        with self._lock:
            self.asked.append(asked)
            self._sweep()
            return self._answer(asked)

    def space(self, name: str) -> Namespace:
        if name not in self.namespaces:
            raise Refused(404, f"no handler for route {name!r}. route entry not found.")
        return self.namespaces[name]

    def allowed(self, token: Token, asked: Asked, path: str = "") -> frozenset[str]:
        """The capabilities of a token at a path."""
        if ROOT in token.names:
            return frozenset({"read", "list", "create", "update", "delete", "sudo"})
        return policies.capabilities(self.policies_of(token), path or asked.path)

    def policies_of(self, token: Token) -> list[Policy]:
        known = self.space(token.namespace).policies
        return [known[name] for name in token.names if name in known]

    def _sweep(self) -> None:
        for token in [token for token in self.tokens.values() if token.ends and token.ends <= self.seconds]:
            self.revoke_token(token)
            self.wrapped.pop(token.id, None)
        for lease in [lease for lease in self.leases.values() if lease.ends <= self.seconds]:
            self.revoke_lease(lease)

    def _answer(self, asked: Asked) -> Answer:
        if self.is_sealed and asked.path not in {"sys/health", "sys/seal-status", "sys/unseal", "sys/leader"}:
            raise Refused(503, "Vault is sealed")
        token = self.tokens.get(asked.token)
        open_answer = self._open(asked, token)
        if open_answer is not None:
            return self._wrapping(asked, open_answer)
        if token is None:
            words = (
                "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"
                if asked.token
                else "permission denied"
            )
            raise Refused(403, words)
        space = self.space(asked.namespace)
        if (
            asked.namespace != token.namespace
            and not (asked.namespace + "/").startswith(token.namespace + "/")
            and token.namespace
        ):
            raise denied()
        if token.id in self.wrapped:
            raise denied()
        is_asking_mount = asked.path.startswith("sys/internal/ui/mounts/")
        wanted = CAPABILITIES.get(asked.method, "")
        if not is_asking_mount:
            given = self.allowed(token, asked)
            if wanted not in given and not (wanted == "update" and "create" in given):
                raise denied()
        if token.uses_left:
            token.uses_left -= 1
            if not token.uses_left:
                self.revoke_token(token)
        answer = self._routed(asked, space, token)
        if asked.method in WRITING or answer.document.get("lease_id"):
            self.writes += 1
            answer.headers["X-Vault-Index"] = f"v1:{self.writes}"
        return self._wrapping(asked, answer)

    def _open(self, asked: Asked, token: Token | None) -> Answer | None:
        """What needs no token."""
        if asked.path.startswith("sys/"):
            return self.system(self, asked, asked.path.removeprefix("sys/"), None)
        if asked.path.startswith("auth/"):
            for mount, entry in self.space(asked.namespace).entries.items():
                if asked.path == f"auth/{mount}/login":
                    answer = entry.answer(asked, "login", None)
                    self.writes += 1
                    answer.headers["X-Vault-Index"] = f"v1:{self.writes}"
                    return answer
        return None

    def _routed(self, asked: Asked, space: Namespace, token: Token) -> Answer:
        if asked.path.startswith("sys/"):
            answer = self.system(self, asked, asked.path.removeprefix("sys/"), token)
            if answer is not None:
                return answer
        if asked.path.startswith("auth/"):
            rest = asked.path.removeprefix("auth/")
            for mount, entry in space.entries.items():
                if rest.startswith(f"{mount}/"):
                    return entry.answer(asked, rest.removeprefix(f"{mount}/"), token)
        mount = self.mount_of(space, asked.path)
        if mount:
            return space.engines[mount].answer(asked, asked.path.removeprefix(f"{mount}/"), token)
        raise Refused(404, f'no handler for route "{asked.path}". route entry not found.')

    def mount_of(self, space: Namespace, path: str) -> str:
        found = [mount for mount in space.engines if path == mount or path.startswith(f"{mount}/")]
        return max(found, key=len, default="")

    def _wrapping(self, asked: Asked, answer: Answer) -> Answer:
        wanted = asked.headers.get("x-vault-wrap-ttl", "").rstrip("s")
        if not wanted or answer.status != 200:
            return answer
        seconds = int(wanted)
        token = self.new_token((), asked.namespace, float(seconds), is_renewable=False, path=asked.path)
        self.wrapped[token.id] = Wrapped(answer.document, asked.path, self.stamp(), seconds)
        info = {
            "token": token.id,
            "accessor": token.accessor,
            "ttl": seconds,
            "creation_time": self.stamp(),
            "creation_path": asked.path,
        }
        return Answer(200, whole(wrap_info=info), answer.headers)
