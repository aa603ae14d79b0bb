"""One call of a host's API, and what became of it: an answer, a refusal, or how long to wait.

No redirect is followed and no page's own address is gone to: the token goes where it was declared for, and nowhere else.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from pymigrate.engine.adapters.answers import Answers
from pymigrate.engine.adapters.channels.addresses import AddressRefused
from pymigrate.engine.domain.errors import GitHostRefused, GitHostUnavailable
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.git_hosts import HostAccount

CALL_SECONDS_MAX = 20.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024
SAID_BYTES_MAX = 2_048
PAGE = 100
PAGES_MAX = 30
WAIT_SECONDS = 60.0  # where the host asks for patience and does not say how long
WAIT_SECONDS_MAX = 3_600.0
AWAY_SECONDS = 5.0
AGAIN = frozenset({408, 409, 423, 425})
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY = 401, 403, 404, 429
SUCCESSES, REDIRECTS, SERVER_ERRORS = range(200, 300), range(300, 400), range(500, 600)
RESET_HEADERS = (("x-ratelimit-remaining", "x-ratelimit-reset"), ("ratelimit-remaining", "ratelimit-reset"))


@dataclass(frozen=True, slots=True)
class HostClient:
    """What calls are made with."""

    http: httpx.AsyncClient
    clock: Clock


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody said of a pull request."""

    id: str
    text: str


class HostRefusal(GitHostRefused):
    """A refusal with its HTTP status, and what was said."""

    def __init__(self, status: int, message: str, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said


class HostApi:
    """Calls the API for one account. `default` is where it is unless the account says; `headers` go with every call."""

    def __init__(self, client: HostClient, account: HostAccount, default: str, headers: Mapping[str, str]) -> None:
        self._client = client
        self._account = account
        self._base = (account.api_url or default).rstrip("/")
        self._answers = Answers([account.token])
        token = account.token.reveal()
        if not token.isascii() or not token.isprintable() or not token:
            raise GitHostRefused(
                f"the token for {account.repository} is no line of ASCII: write it anew where its reference leads"
            )
        self._headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "PyMigrate",
            **headers,
            "authorization": f"Bearer {token}",
        }

    async def get(self, path: str, **query: str | int) -> Any:
        """What is there."""
        return await self._call("GET", f"{path}?{urlencode(query)}" if query else path)

    async def find(self, path: str) -> Any:
        """What is there; None where nothing is."""
        try:
            return await self.get(path)
        except HostRefusal as error:
            if error.status != NOT_FOUND:
                raise
            return None

    async def send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Makes or changes something."""
        return await self._call(method, path, json.dumps(body).encode())

    async def pages(self, path: str, size: str, list_of: str = "") -> AsyncIterator[Mapping[str, Any]]:
        """Every entry of a list in pages; `size` is the parameter for how many are on one, `list_of` the field that holds them."""
        for number in range(1, PAGES_MAX + 1):
            answer = await self.get(path, **{size: PAGE, "page": number})
            entries = answer.get(list_of) if list_of and isinstance(answer, dict) else answer
            if not isinstance(entries, list):
                raise GitHostRefused(f"{self._base} answers {path} with no list: is `api_url` that of its API?")
            for entry in entries:
                if isinstance(entry, dict):
                    yield entry
            if len(entries) < PAGE:
                return

    async def _call(self, method: str, path: str, body: bytes | None = None) -> Any:
        where = f"{method} {self._base}{path.partition('?')[0]}"
        headers = self._headers if body is None else {**self._headers, "content-type": "application/json"}
        try:
            async with (
                asyncio.timeout(CALL_SECONDS_MAX),
                self._client.http.stream(method, f"{self._base}{path}", headers=headers, content=body) as answer,
            ):
                taken = await _taken(answer, ANSWER_BYTES_MAX if answer.status_code in SUCCESSES else SAID_BYTES_MAX)
                return self._judged(answer, taken, where)
        except TimeoutError as error:
            raise GitHostUnavailable(
                f"{where}: no answer within {CALL_SECONDS_MAX:g} s", retry_after_seconds=AWAY_SECONDS
            ) from error
        except AddressRefused as error:
            raise GitHostRefused(f"{where}: {self._answers.said(error.message)}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            said = self._answers.said(f"{type(error).__name__}: {error}")
            raise GitHostUnavailable(f"{where}: {said}", retry_after_seconds=AWAY_SECONDS) from error

    def _judged(self, answer: httpx.Response, taken: bytes, where: str) -> Any:
        status = answer.status_code
        if status in SUCCESSES:
            if len(taken) > ANSWER_BYTES_MAX:
                raise GitHostRefused(f"{where}: answers with more than {ANSWER_BYTES_MAX:,} bytes")
            try:
                return json.loads(taken) if taken else {}
            except (ValueError, RecursionError) as error:
                raise GitHostRefused(f"{where}: answers with no JSON: is `api_url` that of its API?") from error
        is_cut = len(taken) > SAID_BYTES_MAX
        said = self._answers.said(taken[:SAID_BYTES_MAX].decode(errors="replace"), is_cut=is_cut)
        text = f"{where}: {status} {said}"
        if (wait := self._wait_seconds(answer, said)) > 0:
            raise GitHostUnavailable(text, retry_after_seconds=wait)
        raise HostRefusal(status, f"{text}{_advice(status, self._account.repository)}", said)

    def _wait_seconds(self, answer: httpx.Response, said: str) -> float:
        """How long to wait before it is tried again; 0: there is no use in it."""
        status, headers = answer.status_code, answer.headers
        asked = _retry_after_seconds(headers)
        for left, reset in RESET_HEADERS:
            if not asked and headers.get(left, "") == "0" and headers.get(reset, "").isdecimal():
                asked = float(headers[reset][:12]) - self._client.clock.now().timestamp()
        is_limit = status == FORBIDDEN and (asked > 0 or "rate limit" in said.lower() or "abuse" in said.lower())
        if status == TOO_MANY or is_limit:
            return min(max(asked or WAIT_SECONDS, 1.0), WAIT_SECONDS_MAX)
        if status in AGAIN or status in SERVER_ERRORS:
            return min(max(asked, AWAY_SECONDS), WAIT_SECONDS_MAX)
        return 0.0


def repository_path(repository: str) -> str:
    """`owner/name` as a part of a path. Raises GitHostRefused for what would lead elsewhere."""
    parts = repository.split("/")
    if len(parts) != 2 or any(part in {"", ".", ".."} for part in parts):
        raise GitHostRefused(f"`{repository}` is no repository: write it as owner/name")
    return "/".join(quote(part, safe="") for part in parts)


def cut(text: str, characters_max: int) -> str:
    """One line, and no longer than the host takes."""
    line = " ".join(text.split())
    return line if len(line) <= characters_max else f"{line[: characters_max - 1]}…"


async def leave_one(
    comments: Sequence[Comment],
    marker: str,
    text: str,
    change: Callable[[str], Awaitable[Any]],
    add: Callable[[], Awaitable[Any]],
) -> None:
    """Makes the newest comment that begins with the marker say the text, or adds one: the first that says it already, or that may be
    changed. Somebody else may have copied the marker."""
    for comment in reversed([each for each in comments if each.text.startswith(marker)]):
        if comment.text.replace("\r\n", "\n").rstrip() == text.rstrip():
            return
        try:
            await change(comment.id)
        except HostRefusal as error:
            if error.status not in {FORBIDDEN, NOT_FOUND}:
                raise
        else:
            return
    await add()


async def _taken(answer: httpx.Response, bytes_max: int) -> bytes:
    taken = b""
    async for piece in answer.aiter_bytes():
        taken += piece
        if len(taken) > bytes_max:
            break
    return taken


def _retry_after_seconds(headers: httpx.Headers) -> float:
    """What the host asks for; a date is read by the host's own clock, which it sends along."""
    given = headers.get("retry-after", "").strip()
    if given.isascii() and given.isdecimal():
        return float(given[:9])
    try:
        wait = parsedate_to_datetime(given) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return 0.0
    return wait.total_seconds()


def _advice(status: int, repository: str) -> str:
    if status == UNAUTHORIZED:
        return " (the token is not accepted: make a new one, and put it where `host.token` leads)"
    if status in {FORBIDDEN, NOT_FOUND}:
        return f" (is `host.repository` {repository}, and may the token write statuses and comments there?)"
    if status in REDIRECTS:
        return " (redirects are not followed: declare where it leads as `host.api_url`)"
    return ""
