"""Bearer tokens that end by themselves: an id and an end under a MAC, of a key that is derived from the engine's own token.

Nothing of them is kept but the ends of those that were prolonged or ended before their time: whoever can check the engine's token can check
all others. They end with it too, where it is made anew.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.domain.errors import (
    FailedPrecondition,
    InvalidDefinition,
    NotPermitted,
    Problem,
    Unauthenticated,
)
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.store import AuditEntry, Resource, Store, Unit
from pymigrate.v1 import token_pb2

PREFIX = "pmt_"
LIFETIME_DEFAULT_SECONDS = 900.0
LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX = 60.0, 86_400.0
PURPOSE_CHARACTERS_MAX = 200
TOKEN_CHARACTERS_MAX = 200
ID_DIGITS = 12
EXPIRY = struct.Struct(">Q")
MAC_BYTES = 32
COLLECTION = "tokens"
KEPT = timedelta(seconds=LIFETIME_SECONDS_MAX)  # beyond that a token has ended by what it says itself
KEPT_MAX = 10_000
KEY_PURPOSE = b"pymigrate short tokens\0"


@dataclass(frozen=True, slots=True)
class ShortToken:
    """A token, the id that names it, and when it ends."""

    text: str
    id: str
    expire_time: datetime


class ShortTokens:
    """Makes and reads them, for the engine of one token."""

    def __init__(self, engine_token: str) -> None:
        self._key = hmac.new(engine_token.encode(), KEY_PURPOSE, hashlib.sha256).digest()
        self._ends: dict[str, datetime] = {}

    def note_end(self, token_id: str, expire_time: datetime) -> None:
        """A token holds until then, whatever it says itself."""
        self._ends[token_id] = expire_time

    def forget_end(self, token_id: str) -> None:
        """A token whose own end is past too."""
        self._ends.pop(token_id, None)

    def make(self, token_id: str, expire_time: datetime) -> ShortToken:
        """A token of that id; it ends with the second that `expire_time` lies in."""
        expiry = EXPIRY.pack(int(expire_time.timestamp()))
        packed = expiry + self._mac(expiry, token_id) + token_id.encode()
        text = PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")
        return ShortToken(text, token_id, datetime.fromtimestamp(int(expire_time.timestamp()), UTC))

    def read(self, text: str, now: datetime) -> str:
        """The id of a token that still holds. Raises Unauthenticated for one that has ended, or was never made here."""
        expiry, mac, token_id = _parts(text)
        if not hmac.compare_digest(mac, self._mac(expiry, token_id)):
            raise _unknown()
        if now >= self._ends.get(token_id, datetime.fromtimestamp(EXPIRY.unpack(expiry)[0], UTC)):
            raise Unauthenticated("the token has ended: ask for another one")
        return token_id

    def _mac(self, expiry: bytes, token_id: str) -> bytes:
        return hmac.new(self._key, expiry + token_id.encode(), hashlib.sha256).digest()


class TokenMaking:
    """The use cases behind TokenService."""

    def __init__(self, store: Store, surroundings: Surroundings, tokens: ShortTokens) -> None:
        self._store = store
        self._surroundings = surroundings
        self._tokens = tokens

    async def restore(self) -> None:
        """Takes over the ends that an earlier engine noted."""
        for kept in await self._store.read(_kept):
            self._tokens.note_end(last_segment(kept.name), _end_of(kept))

    async def create(self, request: token_pb2.CreateTokenRequest, who: Caller) -> token_pb2.CreateTokenResponse:
        """Makes one, and says in the audit trail for whom and what for. Raises InvalidDefinition, NotPermitted."""
        if who.token_id:
            raise NotPermitted("a token that ends by itself makes no other one: ask with the engine's own")
        problems = tuple(_problems(request.lifetime_seconds, request.purpose))
        if problems:
            raise InvalidDefinition(problems)
        now = self._surroundings.clock.now()
        made = self._tokens.make(self._surroundings.new_id()[:ID_DIGITS], now + _lifetime(request.lifetime_seconds))
        detail = f"holds until {made.expire_time.isoformat()}" + (f": {request.purpose}" if request.purpose else "")
        entry = AuditEntry(now, who.principal, "create-token", f"{COLLECTION}/{made.id}", 0, detail)
        await self._store.transact(lambda unit: unit.audit.append(entry))
        answer = token_pb2.CreateTokenResponse(token=made.text, id=made.id)
        answer.expire_time.FromDatetime(made.expire_time)
        return answer

    async def renew(self, request: token_pb2.RenewTokenRequest, who: Caller) -> token_pb2.RenewTokenResponse:
        """Lets one hold for longer. Raises InvalidDefinition, NotPermitted, and FailedPrecondition for one that has ended or was never made
        here."""
        if who.token_id:
            raise NotPermitted("a token that ends by itself prolongs none: ask with the engine's own")
        problems = tuple(_problems(request.lifetime_seconds))
        if problems:
            raise InvalidDefinition(problems)
        now = self._surroundings.clock.now()
        try:
            token_id = self._tokens.read(request.token, now)
        except Unauthenticated as error:
            raise FailedPrecondition(str(error)) from error
        until = (now + _lifetime(request.lifetime_seconds)).replace(microsecond=0)
        await self._note_end(token_id, until, now, who, "renew-token")
        answer = token_pb2.RenewTokenResponse()
        answer.expire_time.FromDatetime(until)
        return answer

    async def end(self, request: token_pb2.EndTokenRequest, who: Caller) -> None:
        """Ends one. Raises NotPermitted for a holder of another one."""
        now = self._surroundings.clock.now()
        try:
            token_id = self._tokens.read(request.token, now)
        except Unauthenticated:
            return
        if who.token_id not in {"", token_id}:
            raise NotPermitted("a token that ends by itself ends no other one: ask with the engine's own")
        await self._note_end(token_id, now, now, who, "end-token")

    async def _note_end(self, token_id: str, until: datetime, now: datetime, who: Caller, action: str) -> None:
        name = f"{COLLECTION}/{token_id}"
        entry = AuditEntry(now, who.principal, action, name, 0, f"holds until {until.isoformat()}")

        def write(unit: Unit) -> list[str]:
            past = [kept for kept in _kept(unit) if _end_of(kept) < now - KEPT]
            for kept in past:
                unit.resources.delete(kept.name, kept.version)
            body = EXPIRY.pack(int(until.timestamp()))
            there = unit.resources.get(name)
            if there is None:
                fresh = Resource(name, COLLECTION, "", token_id, 1, body, now, now, who.managed_by)
                unit.resources.insert(fresh)
            else:
                changed = replace(there, version=there.version + 1, body=body, update_time=now)
                unit.resources.update(changed, there.version)
            unit.audit.append(entry)
            return [last_segment(kept.name) for kept in past]

        for past in await self._store.transact(write):
            self._tokens.forget_end(past)
        self._tokens.note_end(token_id, until)


def _kept(unit: Unit) -> list[Resource]:
    return list(unit.resources.list(COLLECTION, "", "", KEPT_MAX))


def _end_of(kept: Resource) -> datetime:
    return datetime.fromtimestamp(EXPIRY.unpack(kept.body)[0], UTC)


def _lifetime(seconds: float) -> timedelta:
    return timedelta(seconds=seconds or LIFETIME_DEFAULT_SECONDS)


def _problems(seconds: float, purpose: str = "") -> list[Problem]:
    found = []
    if seconds and not LIFETIME_SECONDS_MIN <= seconds <= LIFETIME_SECONDS_MAX:
        text = f"must be {LIFETIME_SECONDS_MIN:,.0f} to {LIFETIME_SECONDS_MAX:,.0f} seconds; 0 means {LIFETIME_DEFAULT_SECONDS:,.0f}"
        found.append(Problem("lifetime_seconds", text))
    if len(purpose) > PURPOSE_CHARACTERS_MAX or not purpose.isprintable():
        found.append(Problem("purpose", f"has at most {PURPOSE_CHARACTERS_MAX} characters, and no line breaks"))
    return found


def _parts(text: str) -> tuple[bytes, bytes, str]:
    """End, MAC and id as a token has them, none of which is checked. Raises Unauthenticated for what is none."""
    try:
        if not text.startswith(PREFIX) or len(text) > TOKEN_CHARACTERS_MAX or not text.isascii():
            raise ValueError("too long, or of other characters")
        body = text.removeprefix(PREFIX)
        packed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        expiry, mac, token_id = (
            packed[: EXPIRY.size],
            packed[EXPIRY.size : EXPIRY.size + MAC_BYTES],
            packed[EXPIRY.size + MAC_BYTES :],
        )
        datetime.fromtimestamp(EXPIRY.unpack(expiry)[0], UTC)
        return expiry, mac, token_id.decode()
    except (ValueError, OverflowError, OSError, binascii.Error, struct.error) as error:
        raise _unknown() from error


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "the token is not this engine's: read it again from the engine's home, or ask for another one"
    )
