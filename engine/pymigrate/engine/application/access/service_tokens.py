"""Tokens of services: made here, told once, and kept as hashes alone.

A token is 256 random bits and the name of what it is for, so that it is found without a search. Whoever reads the store can show none.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.pages import page_limit
from pymigrate.engine.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidDefinition,
    NotFound,
    NotPermitted,
    Problem,
    Unauthenticated,
)
from pymigrate.engine.domain.names import last_segment, nearest
from pymigrate.engine.ports.identity import Identity
from pymigrate.engine.ports.store import AuditEntry, Resource, Store, Unit
from pymigrate.v1 import access_pb2

PREFIX = "pms_"
PRINCIPAL = "service"
COLLECTION = "serviceTokens"
TOKEN_BYTES = 32
TOKENS_MAX = 1_000
DESCRIPTION_CHARACTERS_MAX = 2_000
OVERLAP_SECONDS_MAX = 604_800.0
ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
ID_RULE = "1 to 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit"
TOKEN = re.compile(rf"{PREFIX}(?P<secret>[A-Za-z0-9_-]{{43}})\.(?P<id>[a-z0-9-]{{1,63}})")

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class KeptToken:
    """What is kept of a token. `digest` is its SHA-256; the one before holds until `previous_until`."""

    description: str
    creator: str
    digest: bytes
    rotated: datetime
    expires: datetime | None = None
    previous_digest: bytes = b""
    previous_until: datetime | None = None

    @classmethod
    def of(cls, body: bytes) -> "KeptToken":
        """As it was stored."""
        said: dict[str, Any] = orjson.loads(body)
        return cls(
            said["description"],
            said["creator"],
            bytes.fromhex(said["digest"]),
            datetime.fromisoformat(said["rotated"]),
            _moment(said["expires"]),
            bytes.fromhex(said["previous_digest"]),
            _moment(said["previous_until"]),
        )

    @property
    def body(self) -> bytes:
        """As it is stored."""
        return orjson.dumps(
            {
                "description": self.description,
                "creator": self.creator,
                "digest": self.digest.hex(),
                "rotated": self.rotated.isoformat(),
                "expires": self.expires and self.expires.isoformat(),
                "previous_digest": self.previous_digest.hex(),
                "previous_until": self.previous_until and self.previous_until.isoformat(),
            }
        )

    def is_shown_by(self, secret: bytes, now: datetime) -> bool:
        """Whether it is this one that is shown, or the one before, which may hold still. Both are compared, whatever the first says."""
        digest = hashlib.sha256(secret).digest()
        is_this = hmac.compare_digest(digest, self.digest) and (self.expires is None or now < self.expires)
        is_previous = hmac.compare_digest(digest, self.previous_digest) and self._has_previous(now)
        return is_this or is_previous

    def _has_previous(self, now: datetime) -> bool:
        return self.previous_until is not None and now < self.previous_until

    def told(self, resource: Resource, now: datetime) -> access_pb2.ServiceToken:
        """What the contract says of it."""
        told = access_pb2.ServiceToken(
            name=resource.name, description=self.description, uid=resource.uid, creator=self.creator
        )
        told.create_time.FromDatetime(resource.create_time)
        told.rotate_time.FromDatetime(self.rotated)
        if self.expires is not None:
            told.expire_time.FromDatetime(self.expires)
        if self.previous_until is not None and self._has_previous(now):
            told.previous_expire_time.FromDatetime(self.previous_until)
        return told


class ServiceTokens:
    """The use cases, and the way in for whoever shows such a token."""

    def __init__(
        self, store: Store, surroundings: Surroundings, random_bytes: RandomBytes = secrets.token_bytes
    ) -> None:
        self._store = store
        self._surroundings = surroundings
        self._random_bytes = random_bytes

    async def identify(self, token: str) -> Identity | None:
        """As Authenticator has it. The store is asked each time, so that what ends a token holds at once, whichever engine was told."""
        if not token.startswith(PREFIX):
            return None
        shown = TOKEN.fullmatch(token)
        if shown is None:
            raise _unknown()
        name = f"{COLLECTION}/{shown['id']}"
        resource = await self._store.read(lambda unit: unit.resources.get(name))
        if resource is None or resource.kind != COLLECTION:
            raise _unknown()
        if not KeptToken.of(resource.body).is_shown_by(shown["secret"].encode(), self._surroundings.clock.now()):
            raise _unknown()
        return Identity(f"{PRINCIPAL}/{shown['id']}")

    async def create(
        self, request: access_pb2.CreateServiceTokenRequest, who: Caller
    ) -> access_pb2.CreateServiceTokenResponse:
        """Makes one. Raises InvalidDefinition, NotPermitted, AlreadyExists, and FailedPrecondition for one too many."""
        _refuse_short(who)
        now, asked = self._surroundings.clock.now(), request.service_token
        expires = _expiry(asked)
        if problems := tuple(_creation_problems(request, expires, now)):
            raise InvalidDefinition(problems)
        token_id, secret = request.service_token_id, self._secret()
        name = f"{COLLECTION}/{token_id}"
        kept = KeptToken(asked.description, who.principal, _digest(secret), now, expires)
        fresh = Resource(name, COLLECTION, "", self._surroundings.new_id(), 1, kept.body, now, now, who.managed_by)

        def write(unit: Unit) -> None:
            if unit.resources.get(name) is not None:
                raise AlreadyExists(f"{name} is there already: rotate it, or take another id", field="service_token_id")
            if len(unit.resources.names(COLLECTION, "")) >= TOKENS_MAX:
                raise FailedPrecondition(
                    f"there are {TOKENS_MAX:,} tokens of services already: delete what is not used"
                )
            unit.resources.insert(fresh)
            unit.audit.append(_entry(now, who, "create", fresh, kept))

        await self._store.transact(write)
        return access_pb2.CreateServiceTokenResponse(service_token=kept.told(fresh, now), token=_text(secret, token_id))

    async def get(self, name: str) -> access_pb2.ServiceToken:
        """What is known of one. Raises NotFound."""
        resource = await self._store.read(lambda unit: _required(unit, name))
        return KeptToken.of(resource.body).told(resource, self._surroundings.clock.now())

    async def list(self, request: access_pb2.ListServiceTokensRequest) -> access_pb2.ListServiceTokensResponse:
        """A page of them, ordered by name."""
        size, after, now = page_limit(request.page_size), request.page_token, self._surroundings.clock.now()
        found = await self._store.read(lambda unit: unit.resources.list(COLLECTION, "", after, size + 1))
        page = found[:size]
        return access_pb2.ListServiceTokensResponse(
            service_tokens=[KeptToken.of(each.body).told(each, now) for each in page],
            next_page_token=page[-1].name if len(found) > size else "",
        )

    async def rotate(
        self, request: access_pb2.RotateServiceTokenRequest, who: Caller
    ) -> access_pb2.CreateServiceTokenResponse:
        """Makes another one for the same service; the one before holds for the overlap, and never longer than it would have, one that was
        rotated out earlier no longer. Raises InvalidDefinition, NotPermitted, NotFound."""
        _refuse_short(who)
        now, expires = self._surroundings.clock.now(), _expiry(request)
        if problems := tuple(_rotation_problems(request, expires, now)):
            raise InvalidDefinition(problems)
        secret, overlap = self._secret(), timedelta(seconds=request.overlap_seconds)

        def write(unit: Unit) -> tuple[Resource, KeptToken]:
            there = _required(unit, request.name)
            before = KeptToken.of(there.body)
            ends = now + overlap
            if before.expires is not None:
                ends = min(ends, before.expires)
            is_over = ends <= now
            kept = replace(
                before,
                digest=_digest(secret),
                rotated=now,
                expires=expires,
                previous_digest=b"" if is_over else before.digest,
                previous_until=None if is_over else ends,
            )
            changed = replace(there, version=there.version + 1, body=kept.body, update_time=now)
            unit.resources.update(changed, there.version)
            unit.audit.append(_entry(now, who, "rotate", changed, kept))
            return changed, kept

        resource, kept = await self._store.transact(write)
        text = _text(secret, last_segment(resource.name))
        return access_pb2.CreateServiceTokenResponse(service_token=kept.told(resource, now), token=text)

    async def delete(self, name: str, who: Caller) -> None:
        """Ends one, and the one before it, at once. Raises NotFound."""
        now = self._surroundings.clock.now()

        def write(unit: Unit) -> None:
            there = _required(unit, name)
            unit.resources.delete(name, there.version)
            unit.audit.append(AuditEntry(now, who.principal, "delete", name, there.version))

        await self._store.transact(write)

    def _secret(self) -> str:
        return base64.urlsafe_b64encode(self._random_bytes(TOKEN_BYTES)).decode().rstrip("=")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _text(secret: str, token_id: str) -> str:
    return f"{PREFIX}{secret}.{token_id}"


def _entry(now: datetime, who: Caller, action: str, resource: Resource, kept: KeptToken) -> AuditEntry:
    detail = "holds until it is deleted" if kept.expires is None else f"holds until {kept.expires.isoformat()}"
    if kept.previous_until is not None:
        detail += f"; the one before until {kept.previous_until.isoformat()}"
    return AuditEntry(now, who.principal, action, resource.name, resource.version, detail)


def _required(unit: Unit, name: str) -> Resource:
    found = unit.resources.get(name) if name.startswith(f"{COLLECTION}/") else None
    if found is None:
        known = nearest(name, unit.resources.names(COLLECTION, ""))
        raise NotFound(f"there is no service token `{name}`{known}", field="name")
    return found


def _refuse_short(who: Caller) -> None:
    if who.token_id:
        raise NotPermitted(
            "a token that ends by itself makes no other one: ask with the engine's own, or as somebody who may"
        )


def _expiry(asked: Any) -> datetime | None:
    if not asked.HasField("expire_time"):
        return None
    try:
        moment: datetime = asked.expire_time.ToDatetime(UTC)
    except ValueError as error:
        raise InvalidDefinition((Problem("expire_time", "is no time that can be told"),)) from error
    return moment


def _creation_problems(
    request: access_pb2.CreateServiceTokenRequest, expires: datetime | None, now: datetime
) -> Iterator[Problem]:
    if ID.fullmatch(request.service_token_id) is None:
        yield Problem("service_token_id", f"`{request.service_token_id[:63]}` is no name: use {ID_RULE}")
    if request.service_token.name:
        yield Problem("service_token.name", "is given by the engine: leave it empty")
    if len(request.service_token.description) > DESCRIPTION_CHARACTERS_MAX:
        yield Problem("service_token.description", f"has at most {DESCRIPTION_CHARACTERS_MAX:,} characters")
    if expires is not None and expires <= now:
        yield Problem("service_token.expire_time", "is past: leave it out for a token that holds until it is deleted")


def _rotation_problems(
    request: access_pb2.RotateServiceTokenRequest, expires: datetime | None, now: datetime
) -> Iterator[Problem]:
    if not 0 <= request.overlap_seconds <= OVERLAP_SECONDS_MAX:
        yield Problem("overlap_seconds", f"must be 0 to {OVERLAP_SECONDS_MAX:,.0f}")
    if expires is not None and expires <= now:
        yield Problem("expire_time", "is past: leave it out for a token that holds until it is deleted")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "the service's token is not known here, or holds no longer: ask whoever made it for another one"
    )
