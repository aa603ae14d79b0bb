"""Streams of the engine that go on over a restart of it: a call that was cut off is made again, from the last answer that was told."""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import grpc

RETRIES_MAX = 60


class Resumable(Protocol):
    """An answer of a stream, with the token to go on after it."""

    @property
    def resume_token(self) -> str:
        """Names what was told last."""
        ...


class Waiting(Protocol):
    """What waits for the engine, for a moment at most."""

    def wait_until_ready(self) -> None:
        """Returns when it may be there."""
        ...


Answer = TypeVar("Answer", bound=Resumable)


def resumed(client: Waiting, call: Callable[[str], Iterator[Answer]]) -> Iterator[Answer]:
    """The answers of a stream until it ends. `call` begins it with the token of the last answer, empty at first; where the engine is away
    that is tried again, RETRIES_MAX times in a row."""
    token, tries = "", 0
    while True:
        try:
            for answer in call(token):
                token, tries = answer.resume_token, 0
                yield answer
            return
        except grpc.RpcError as error:
            tries += 1
            if error.code() is not grpc.StatusCode.UNAVAILABLE or tries > RETRIES_MAX:
                raise
        client.wait_until_ready()
