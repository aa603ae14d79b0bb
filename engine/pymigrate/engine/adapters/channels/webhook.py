"""Messages as HTTP requests: a CloudEvent in each, signed, and known again by its key however often it comes.

What came of a try follows from the status, and where there is none from how far the request had come. What is wrong with the channel (its
credentials, its server) is tried again, since somebody may mend it meanwhile; what is wrong with the message or its receiver is not.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpx

from pymigrate.engine.adapters.answers import ANSWER_BYTES_MAX, Answers
from pymigrate.engine.adapters.channels.addresses import AddressRefused, OutgoingAddresses
from pymigrate.engine.adapters.channels.lines import is_one_line
from pymigrate.engine.adapters.channels.outgoing_http import OutgoingTransport
from pymigrate.engine.adapters.channels.webhook_signing import key_of, signature
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.domain.errors import InvalidDefinition, Problem, SecretMissing
from pymigrate.engine.ports.channel import Letter, Sent
from pymigrate.engine.ports.secrets import Secret

CONTENT_TYPE = "application/cloudevents+json"
EVENT_TYPE = "io.pymigrate.notification"
RETRY_AFTER_SECONDS_MAX = 86_400.0
SUCCESSES = range(200, 300)
REDIRECTS = range(300, 400)
SERVER_ERRORS = range(500, 600)
CREDENTIALS = frozenset({401, 403, 407})
# The same key is still at work (409), or the receiver asks for another try.
AGAIN = frozenset({408, 409, 421, 423, 425, 429})
PACED = frozenset({429, 503})
OWN_HEADERS = frozenset(
    {
        "content-type",
        "content-length",
        "host",
        "connection",
        "transfer-encoding",
        "idempotency-key",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
)


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """What requests are signed with, the present key first, and the headers that they carry."""

    signing_keys: tuple[Secret, ...] = ()
    headers: Mapping[str, Secret] = field(default_factory=dict)


class WebhookChannel:
    """Posts. `secrets` is asked at first, and again after a receiver has not accepted what it gave. Secret headers go to the channel's own
    `url` alone where it has one: an address of a stakeholder's does not get the channel's credentials."""

    def __init__(
        self,
        url: str,
        secrets: Callable[[], WebhookSecrets],
        addresses: OutgoingAddresses,
        trust: ssl.SSLContext,
        try_seconds_max: float,
    ) -> None:
        self._own = _target(url) if url else None
        self._secrets = secrets
        self._try_seconds_max = try_seconds_max
        self._known: _Known | None = None
        self._answers = Answers()
        self._client = httpx.AsyncClient(
            transport=OutgoingTransport(addresses, trust), timeout=try_seconds_max, trust_env=False
        )

    async def send(self, letter: Letter) -> Sent:
        """Posts once."""
        body = _Body(letter.event or _event(letter))
        try:
            async with asyncio.timeout(self._try_seconds_max):
                return await self._post(letter, body)
        except TimeoutError:
            if body.answer is not None:  # only what was said beside the status is still missing
                return self._judged(body.answer, str(body.answer.status_code))
            return Sent(_lost(body), f"no answer within {self._try_seconds_max:g} s")
        except (AddressRefused, InvalidDefinition) as error:
            return Sent(TryOutcome.PERMANENT, self._answers.said(error.message))
        except SecretMissing as error:
            return Sent(TryOutcome.TRANSIENT, error.message)
        except httpx.TransportError as error:
            return Sent(_lost(body), self._answers.said(f"{type(error).__name__}: {error}"))

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.aclose()

    async def _post(self, letter: Letter, body: "_Body") -> Sent:
        target = _target(letter.to) if letter.to else self._own
        if target is None:
            raise InvalidDefinition((Problem("to", "neither the address nor the channel has a URL"),))
        known = self._known or await self._read()
        request = self._client.build_request(
            "POST", target, headers=self._headers(known, target, letter, body.content), content=body
        )
        answer = body.answer = await self._client.send(request, stream=True)
        try:
            return self._judged(answer, await self._text(answer))
        finally:
            await answer.aclose()

    def _headers(self, known: "_Known", target: httpx.URL, letter: Letter, content: bytes) -> dict[str, str]:
        headers = {
            "content-type": CONTENT_TYPE,
            "content-length": str(len(content)),
            "idempotency-key": letter.key,
            "webhook-id": letter.key,
            "user-agent": "PyMigrate",
            "accept-encoding": "identity",
        }
        if not (is_one_line(letter.key) and letter.key.isascii()):
            raise InvalidDefinition((Problem("key", "has characters that no header may have"),))
        if self._own is None or _origin(self._own) == _origin(target):
            headers |= known.headers
        if known.keys:
            if letter.time is None:
                raise ValueError("a signed letter needs its time")
            timestamp = int(letter.time.timestamp())
            headers["webhook-timestamp"] = str(timestamp)
            headers["webhook-signature"] = signature(known.keys, letter.key, timestamp, content)
        return headers

    async def _read(self) -> "_Known":
        """Reads the secrets, away from the loop: they may be on another machine."""
        secrets = await asyncio.to_thread(self._secrets)
        for secret in (*secrets.signing_keys, *secrets.headers.values()):
            self._answers.note(secret)
        headers = {}
        for name, secret in secrets.headers.items():
            value = secret.reveal()
            if name.lower() in OWN_HEADERS:
                raise InvalidDefinition((Problem(f"webhook.secret_headers.{name}", "is a header of PyMigrate's own"),))
            if not (is_one_line(name + value) and name.isascii() and value.isascii()):
                said = "leads to a value that no header may have: one line of ASCII"
                raise InvalidDefinition((Problem(f"webhook.secret_headers.{name}", said),))
            headers[name] = value
        keys = tuple(key_of(key, "webhook.signing_key") for key in secrets.signing_keys)
        self._known = _Known(keys, headers)
        return self._known

    def _judged(self, answer: httpx.Response, said: str) -> Sent:
        status = answer.status_code
        if status in SUCCESSES:
            return Sent(TryOutcome.ACCEPTED, said)
        if status in CREDENTIALS:
            self._known = None
            return Sent(TryOutcome.TRANSIENT, f"{said} (the receiver does not accept the channel's credentials)")
        if status in REDIRECTS:
            return Sent(TryOutcome.PERMANENT, f"{said} (redirects are not followed: declare where it leads)")
        if status in PACED and (seconds := _retry_after_seconds(answer)) > 0:
            return Sent(TryOutcome.THROTTLED, said, retry_after_seconds=seconds)
        if status in AGAIN or status in SERVER_ERRORS:
            return Sent(TryOutcome.TRANSIENT, said)
        return Sent(TryOutcome.PERMANENT, said)

    async def _text(self, answer: httpx.Response) -> str:
        taken = b""
        try:
            async for piece in answer.aiter_raw():
                taken += piece
                if len(taken) > ANSWER_BYTES_MAX:
                    break
        except httpx.TransportError:
            taken += b"..."  # the status was told, and it decides
        text = taken[:ANSWER_BYTES_MAX].decode(errors="replace")
        return self._answers.said(f"{answer.status_code} {text}", is_cut=len(taken) > ANSWER_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class _Known:
    keys: tuple[bytes, ...]
    headers: Mapping[str, str]


class _Body(httpx.AsyncByteStream):
    """What is posted, whether it was handed over (from then on nobody knows without an answer whether it has arrived), and the answer."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.is_handed_over = False
        self.answer: httpx.Response | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content
        self.is_handed_over = True


def _lost(body: _Body) -> TryOutcome:
    return TryOutcome.UNKNOWN if body.is_handed_over else TryOutcome.TRANSIENT


def _target(url: str) -> httpx.URL:
    """Raises InvalidDefinition for what is no URL that may be posted to."""
    if not is_one_line(url):
        raise InvalidDefinition((Problem("to", "has a line break or a control character"),))
    try:
        target = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidDefinition((Problem("to", f"is no URL: {error}"),)) from error
    if target.scheme not in ("http", "https") or not target.host:
        raise InvalidDefinition((Problem("to", "is no URL that begins with https:// or http:// and a host"),))
    if target.userinfo:
        raise InvalidDefinition((Problem("to", "holds credentials: declare them as `secret_headers` of the channel"),))
    return target


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _event(letter: Letter) -> bytes:
    """A message that tells of no event, as a test of a channel does, as a CloudEvent of its own."""
    link = {"acknowledgeUrl": letter.acknowledge_url} if letter.acknowledge_url else {}
    event = {
        "specversion": "1.0",
        "id": letter.key,
        "source": "/pymigrate",
        "type": EVENT_TYPE,
        "datacontenttype": "application/json",
        "data": {"subject": letter.subject, "body": letter.body, **link},
    }
    return json.dumps(event, separators=(",", ":")).encode()


def _retry_after_seconds(answer: httpx.Response) -> float:
    """What the receiver asks for. A date is read by the receiver's own clock, which it sends along."""
    given = answer.headers.get("retry-after", "").strip()
    if given.isascii() and given.isdecimal():
        return min(float(given), RETRY_AFTER_SECONDS_MAX)
    try:
        wait = parsedate_to_datetime(given) - parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, TypeError):
        return 0.0
    return min(max(wait.total_seconds(), 0.0), RETRY_AFTER_SECONDS_MAX)
