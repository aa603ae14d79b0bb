"""A way out for messages: mail, HTTP, or what another package brings through the entry points `pymigrate.channels`.

A channel lives in a dispatcher. It never raises for what a receiver does: each try ends as a `Sent` that says what came of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.ports.secrets import Secret

ANSWER_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent. `to` is as the channel takes it, `display_name` whom it is for; `key` is what a receiver tells repetitions by, the same
    for every try; `event` is the CloudEvent as JSON. `time` is when it is sent, for signatures."""

    key: str
    to: str
    display_name: str
    subject: str
    body: str
    html: str = ""
    event: bytes = b""
    acknowledge_url: str = ""
    try_number: int = 1
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a try: `answer` is what the receiver said, at most ANSWER_CHARACTERS_MAX and without secrets; `retry_after_seconds`
    what it asked for; `is_delivered` whether it says that the recipient has it."""

    outcome: TryOutcome
    answer: str = ""
    retry_after_seconds: float = 0.0
    is_delivered: bool = False


class Channel(Protocol):
    """One way out, for as long as it is declared so; used by several tries at once."""

    async def send(self, letter: Letter) -> Sent:
        """Tries once, within the channel's own limit of time. Raises only for what is a defect of this program."""
        ...

    async def close(self) -> None:
        """Ends what is open."""
        ...


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """What a plugin is given: what was declared, with references already resolved into `secrets`, and the limit of time of a try."""

    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    try_seconds_max: float = 10.0


class ChannelPlugin(Protocol):
    """What an entry point in `pymigrate.channels` leads to: called with the options, it gives the channel, or raises InvalidDefinition."""

    def __call__(self, options: ChannelOptions) -> Channel:
        """The channel."""
        ...
