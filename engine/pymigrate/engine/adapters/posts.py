"""A receiver over HTTP. Redirects are not followed, and no proxy of the environment is asked: what is posted to is what was configured."""

import asyncio
from collections.abc import Callable

import httpx

from pymigrate.engine.adapters.answers import Answers
from pymigrate.engine.domain.errors import SecretMissing
from pymigrate.engine.ports.posts import Message, Outcome, Posted
from pymigrate.engine.ports.secrets import Secret

POST_SECONDS_MAX = 10.0
CONNECTIONS_MAX = 8
SAID_BYTES_MAX = 4_096
SAID_CHARACTERS_MAX = 300
SUCCESSES = range(200, 300)
SERVER_ERRORS_FROM = 500
CREDENTIALS = frozenset({401, 403})
# The receiver, its address or what is before it is in question, not the message.
AWAY = CREDENTIALS | {404, 407, 408, 421, 425, 429, 502, 503, 504, *range(300, 400)}


class HttpPosts:
    """Posts to one address. `token` is asked at first, and again after the receiver has not accepted what it gave."""

    def __init__(
        self, url: str, token: Callable[[], Secret] | None = None, seconds_max: float = POST_SECONDS_MAX
    ) -> None:
        self._url = url
        self._token = token
        self._headers: dict[str, str] | None = None
        self._answers = Answers()
        self._seconds_max = seconds_max
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX)
        self._client = httpx.AsyncClient(timeout=seconds_max, limits=limits, follow_redirects=False, trust_env=False)

    async def post(self, message: Message) -> Posted:
        """Posts once, within the time limit from the first byte to the last."""
        try:
            headers = {**self._authorization(), "content-type": message.content_type}
            async with (
                asyncio.timeout(self._seconds_max),
                self._client.stream("POST", self._url, headers=headers, content=message.body) as answer,
            ):
                if answer.status_code in SUCCESSES:
                    return Posted(Outcome.SENT)
                return self._judged(answer, await _said(answer, self._answers))
        except TimeoutError:
            return Posted(Outcome.AWAY, f"no answer within {self._seconds_max:g} s")
        except SecretMissing as error:
            return Posted(Outcome.AWAY, error.message)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Posted(Outcome.AWAY, f"{type(error).__name__}: {error}")

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.aclose()

    def _judged(self, answer: httpx.Response, said: str) -> Posted:
        status = answer.status_code
        text = f"{status}: {said}"
        if status in CREDENTIALS:
            self._headers = None
        if status in AWAY:
            return Posted(Outcome.AWAY, text, _retry_after(answer))
        if status >= SERVER_ERRORS_FROM:
            return Posted(Outcome.FAILED, text, _retry_after(answer))
        return Posted(Outcome.REFUSED, text)

    def _authorization(self) -> dict[str, str]:
        if self._headers is None:
            self._headers = {}
            if self._token is not None:
                token = self._token()
                self._answers.note(token)
                self._headers = {"authorization": f"Bearer {token.reveal()}"}
        return self._headers


async def _said(answer: httpx.Response, answers: Answers) -> str:
    taken = b""
    async for piece in answer.aiter_bytes():
        taken += piece
        if len(taken) >= SAID_BYTES_MAX:
            break
    said = answers.said(taken[:SAID_BYTES_MAX].decode(errors="replace"), is_cut=len(taken) >= SAID_BYTES_MAX)
    return said[:SAID_CHARACTERS_MAX].strip() or "without a word"


def _retry_after(answer: httpx.Response) -> float:
    """Seconds; a date is not heeded, for its clock is another's."""
    given = answer.headers.get("retry-after", "")
    return float(given) if given.isascii() and given.isdecimal() else 0.0
