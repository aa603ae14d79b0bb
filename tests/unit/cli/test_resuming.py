"""What is watched goes on over a restart of the engine, from the last answer that was told."""

from collections.abc import Iterator

import grpc
import pytest

from pymigrate.engine.entrypoints.cli.resuming import RETRIES_MAX, resumed
from pymigrate.v1 import kpi_pb2


class Cut(grpc.RpcError):
    """An error of a call, as a stub raises it."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


class Restarted:
    """A stream whose engine is away as often as is said after each answer; `tokens` are those that it was called with."""

    def __init__(self, *answers: str, away: int = 1, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        self.tokens: list[str] = []
        self.waits = 0
        self._answers = list(answers)
        self._away, self._left, self._code = away, 0, code

    def wait_until_ready(self) -> None:
        self.waits += 1

    def call(self, token: str) -> Iterator[kpi_pb2.WatchKpisResponse]:
        self.tokens.append(token)
        if self._left:
            self._left -= 1
            raise Cut(self._code)
        if self._answers:
            self._left = self._away
            yield kpi_pb2.WatchKpisResponse(resume_token=self._answers.pop(0))
            self._left -= 1
            raise Cut(self._code)


def told(stream: Restarted) -> list[str]:
    return [answer.resume_token for answer in resumed(stream, stream.call)]


def test_a_stream_that_was_cut_off_goes_on_from_its_last_answer() -> None:
    stream = Restarted("1", "2", away=3)
    assert told(stream) == ["1", "2"]
    assert stream.tokens == ["", "1", "1", "1", "2", "2", "2"]
    assert stream.waits == 6


def test_an_engine_that_stays_away_ends_it() -> None:
    stream = Restarted("1", away=10 * RETRIES_MAX)
    with pytest.raises(Cut):
        told(stream)
    assert stream.waits == RETRIES_MAX


def test_what_is_no_restart_ends_it_at_once() -> None:
    stream = Restarted("1", code=grpc.StatusCode.NOT_FOUND)
    with pytest.raises(Cut):
        told(stream)
    assert (stream.tokens, stream.waits) == ([""], 0)
