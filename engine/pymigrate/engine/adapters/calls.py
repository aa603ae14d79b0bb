"""Calls over HTTP. Redirects are not followed: what is called is what was declared."""

import httpx

from pymigrate.engine.adapters.answers import Answers
from pymigrate.engine.domain.errors import StepRefused, StepUnavailable
from pymigrate.engine.ports.calls import OutsideCall
from pymigrate.engine.ports.secrets import Secret

KEY_HEADER = "Idempotency-Key"
ANSWER_CHARACTERS_MAX = 300
ANSWER_BYTES_MAX = 65_536
TRY_LATER = frozenset({408, 409, 423, 425, 429})
SERVER_ERRORS_FROM = 500


class HttpCalls:
    """One connection a call: steps are few, and a kept connection would outlive what it was opened for."""

    def call(self, call: OutsideCall) -> None:
        """Raises StepRefused and StepUnavailable."""
        headers = {name: value.reveal() if isinstance(value, Secret) else value for name, value in call.headers.items()}
        where = f"{call.method} {call.url}"
        try:
            with (
                httpx.Client(timeout=call.timeout_seconds, follow_redirects=False, trust_env=False) as client,
                client.stream(
                    call.method, call.url, headers=headers | {KEY_HEADER: call.key}, content=call.body.encode()
                ) as answer,
            ):
                if answer.is_success:
                    return
                said = _said(answer, Answers(value for value in call.headers.values() if isinstance(value, Secret)))
                status = answer.status_code
        except httpx.HTTPError as error:
            raise StepUnavailable(f"{where} did not answer: {type(error).__name__}: {error}") from error
        except httpx.InvalidURL as error:
            raise StepRefused(f"{where} can't be called: {error}") from error
        if status in TRY_LATER or status >= SERVER_ERRORS_FROM:
            raise StepUnavailable(f"{where} answered {status}: {said}")
        raise StepRefused(f"{where} answered {status}, and only 2xx counts as done: {said}")


def _said(answer: httpx.Response, answers: Answers) -> str:
    """The beginning of the answer's body."""
    taken = b""
    for piece in answer.iter_bytes():
        taken += piece
        if len(taken) >= ANSWER_BYTES_MAX:
            break
    text = taken[:ANSWER_BYTES_MAX].decode(errors="replace")
    said = answers.said(text, is_cut=len(taken) >= ANSWER_BYTES_MAX)
    return said[:ANSWER_CHARACTERS_MAX].strip() or "without a word"
