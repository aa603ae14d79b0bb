"""GET requests to one API: at its pace, again after what passes, and never to another origin.

A GET may be made again: it changes nothing (RFC 9110, 9.2.2). What the API asks for with `Retry-After` is waited for up to a limit; longer
waits are the lane's, which stalls and keeps its checkpoint.
"""

import random
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote

import httpx

from pymigrate.engine.adapters.answers import Answers
from pymigrate.engine.adapters.connectors.http_pace import RequestPace
from pymigrate.engine.adapters.connectors.refused_logins import refused_login
from pymigrate.engine.adapters.connectors.source_values import SHOWN_CHARACTERS_MAX
from pymigrate.engine.domain.errors import (
    DataRefused,
    FailedPrecondition,
    InvalidDefinition,
    PermanentError,
    Problem,
    SourceMissing,
    SystemUnavailable,
    TemporaryError,
)
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.connector import SystemSpec

BODY_BYTES_MAX = 64 * 1024 * 1024
PIECE_BYTES = 65_536
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_SECONDS_MAX = 30.0
PATIENCE_SECONDS_MAX = 120.0
SAID_BYTES_MAX = 4_096
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
LOGIN_REFUSED = frozenset({401, 407})
NOT_ALLOWED = LOGIN_REFUSED | {403}
GONE = frozenset({404, 410})
HEADER = "header."
FIELD = "source.connection"


@dataclass(frozen=True, slots=True)
class Answer:
    """A page as it came; `next_link` is the address that its `Link` header names, as an absolute URL, empty without one."""

    url: str
    body: bytes
    media_type: str
    etag: str
    next_link: str


class PageMissing(SourceMissing):
    """The API has nothing at the address."""


class HttpClient:
    """Not for several threads at once."""

    def __init__(
        self,
        system: SystemSpec,
        pace: RequestPace,
        clock: BlockingClock,
        rng: random.Random | None = None,
        body_bytes_max: int = BODY_BYTES_MAX,
    ) -> None:
        options = system.options
        self.name = system.name
        self._system = system
        self._base = httpx.URL(options["base_url"].rstrip("/") + "/")
        self._retries_max = int(options.get("retries_max", "5"))
        self._body_bytes_max = body_bytes_max
        self._pace = pace
        self._clock = clock
        self._rng = rng or random.Random()
        self._answers = Answers(system.secrets.values())
        headers = {name.removeprefix(HEADER): text for name, text in options.items() if name.startswith(HEADER)}
        headers |= {name.removeprefix(HEADER): secret.reveal() for name, secret in system.secrets.items()}
        self._client = httpx.Client(
            headers={"Accept": "application/json", **headers},
            timeout=float(options.get("timeout_seconds", "30")),
            verify=_trusted(options.get("ca_file", "")),
            follow_redirects=False,
            trust_env=False,
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port of the API."""
        return f"{self._base.scheme}://{self._base.netloc.decode()}"

    def reached(self) -> str:
        """The origin, after a request to the base URL was answered: with whatever it is but a refusal of its headers."""
        try:
            self.get(str(self._base))
        except (SourceMissing, DataRefused):
            return self.origin
        except FailedPrecondition as error:
            if error.field == FIELD:
                raise
        return self.origin

    def address(self, relation: str, parameters: Iterable[tuple[str, str]]) -> str:
        """The URL of a path below the base. Raises InvalidDefinition for a path that leads elsewhere."""
        parts = relation.strip("/").split("/")
        if "://" in relation or any(part in ("", ".", "..") for part in parts) or "?" in relation or "#" in relation:
            problem = f"`{relation}` is no path below {self._base}: give names with `/` between, and what is asked for as parameters"
            raise InvalidDefinition((Problem("source.relation", problem),))
        path = "/".join(quote(part, safe="!$&'()*+,;=:@-._~") for part in parts)
        return str(self._base.copy_with(path=self._base.path + path, query=None).copy_merge_params(list(parameters)))

    def linked(self, link: str, page: str) -> str:
        """The absolute URL of a link on a page. Raises DataRefused where it leads to another origin."""
        try:
            url = httpx.URL(page).join(link)
        except httpx.InvalidURL as error:
            raise DataRefused(f"{page}: the link to the next page is no address: {error}") from error
        same = (url.scheme, url.host, url.port) == (self._base.scheme, self._base.host, self._base.port)
        if not same or url.userinfo:
            raise DataRefused(
                f"{page}: the next page would be at {url.scheme}://{url.host}, and only {self.origin} is ever asked"
            )
        return str(url)

    def get(self, url: str) -> Answer:
        """The page at the URL. Raises SystemUnavailable, SourceMissing (PageMissing), FailedPrecondition and DataRefused."""
        for retry in range(self._retries_max + 1):
            self._pace.take()
            try:
                with self._client.stream("GET", url) as response:
                    if response.is_success:
                        return self._answer(url, response)
                    failure = self._failure(url, response)
                    patience = _retry_after_seconds(response, self._clock.now())
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
                if _is_untrusted(error) or isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
                    raise FailedPrecondition(f"{url} can't be asked: {error}", field=FIELD) from error
                failure = SystemUnavailable(f"{url} did not answer: {type(error).__name__}: {error}", field=FIELD)
                patience = 0.0
            if not isinstance(failure, SystemUnavailable) or retry == self._retries_max:
                raise failure
            if patience > PATIENCE_SECONDS_MAX:
                failure.retry_after_seconds = patience
                raise failure
            if patience:
                self._pace.pause(patience)
            else:
                most = min(BACKOFF_SECONDS_MAX, BACKOFF_FIRST_SECONDS * 2**retry)
                self._clock.wait(most * self._rng.uniform(0.5, 1.0))
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def _answer(self, url: str, response: httpx.Response) -> Answer:
        body = bytearray()
        for piece in response.iter_bytes(PIECE_BYTES):
            body += piece
            if len(body) > self._body_bytes_max:
                raise DataRefused(
                    f"{url}: the answer has more than {self._body_bytes_max:,} bytes: ask for smaller pages"
                )
        links = [link["url"] for link in response.links.values() if "next" in link.get("rel", "").lower().split()]
        return Answer(
            url=url,
            body=bytes(body),
            media_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
            etag=response.headers.get("etag", ""),
            next_link=self.linked(links[0], url) if links else "",
        )

    def _failure(self, url: str, response: httpx.Response) -> PermanentError | TemporaryError:
        status = response.status_code
        if response.has_redirect_location:
            where = response.headers["location"]
            return FailedPrecondition(
                f"{url} redirects to {where}, which is not followed: declare that address", field="source.relation"
            )
        said = f"{url} answered {status}: {_said(response, self._answers)}"
        if status in TRY_AGAIN:
            return SystemUnavailable(said, field=FIELD)
        if status in LOGIN_REFUSED and self._system.secrets:
            refusal = refused_login(self._system, self.origin, said)
            refusal.field = FIELD
            return refusal
        if status in NOT_ALLOWED:
            return FailedPrecondition(f"{said}: look at the headers that the connection sends", field=FIELD)
        if status in GONE:
            return PageMissing(said, field="source.relation")
        return FailedPrecondition(said, field="source.relation")


@cache
def _usual_authorities() -> ssl.SSLContext:
    """The public ones, read once a process: that takes longer than many a request."""
    return httpx.create_ssl_context(trust_env=False)


def _trusted(ca_file: str) -> ssl.SSLContext:
    if not ca_file:
        return _usual_authorities()
    try:
        return ssl.create_default_context(cafile=str(Path(ca_file)))
    except (OSError, ssl.SSLError) as error:
        raise FailedPrecondition(f"the certificates in {ca_file} can't be read: {error}", field=FIELD) from error


def _is_untrusted(error: Exception) -> bool:
    """Whether the other side's certificate was refused."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            return True
        found = found.__cause__ or found.__context__
    return False


def _retry_after_seconds(response: httpx.Response, now: datetime) -> float:
    """What `Retry-After` says, in seconds or as a date (RFC 9110, 10.2.3); 0 where it says nothing that can be read."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())


def _said(response: httpx.Response, answers: Answers) -> str:
    """The beginning of the answer's body."""
    taken = b""
    for piece in response.iter_bytes():
        taken += piece
        if len(taken) >= SAID_BYTES_MAX:
            break
    text = answers.said(taken[:SAID_BYTES_MAX].decode(errors="replace"), is_cut=len(taken) >= SAID_BYTES_MAX)
    return text[: 4 * SHOWN_CHARACTERS_MAX] or "without a word"
