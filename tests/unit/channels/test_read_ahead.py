"""Channels whose secrets lie in backends read them before each try, and off the loop."""

import threading
from contextlib import nullcontext

from pymigrate.engine.adapters.channels.read_ahead import ReadAhead, ReadAheadChannel
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.domain.errors import SecretsUnavailable
from pymigrate.engine.ports.channel import Channel
from pymigrate.engine.ports.secrets import Secret, SecretRef, Secrets
from pymigrate.engine.testing.channels import MemoryChannel
from pymigrate.engine.testing.secrets import MemorySecrets
from tests.letters import letter

REF = SecretRef("vault", "kv/chat", "url")
AWAY = SecretsUnavailable("vault://kv/chat#url: away")


class Watched(MemorySecrets):
    """Notes which threads read."""

    def __init__(self) -> None:
        super().__init__({str(REF): "https://one"})
        self.threads: set[int] = set()

    def read(self, ref: SecretRef) -> Secret:
        self.threads.add(threading.get_ident())
        return super().read(ref)


class Holding(nullcontext[None]):
    """Notes that it was given up."""

    exits = 0

    def __exit__(self, *_: object) -> None:
        self.exits += 1


async def test_secrets_are_read_before_each_try_off_the_loop_and_given_up_with_the_channel() -> None:
    secrets, holding, given = Watched(), Holding(), list[Secrets]()

    def make(ahead: Secrets) -> Channel:
        given.append(ahead)
        return MemoryChannel()

    ahead = ReadAhead({REF}, secrets)
    channel = ReadAheadChannel(ahead, make, holding)
    secrets.failures[str(REF)] = AWAY
    sent = await channel.send(letter())
    assert (sent.outcome, sent.answer) == (TryOutcome.TRANSIENT, "vault://kv/chat#url: away")
    assert not given
    del secrets.failures[str(REF)]
    await channel.send(letter())
    assert given == [ahead]
    assert ahead.read(REF).reveal() == "https://one"
    secrets.put(str(REF), "https://two")
    assert ahead.read(REF).reveal() == "https://one"
    await channel.send(letter())
    assert ahead.read(REF).reveal() == "https://two"
    assert len(given) == 1
    assert threading.get_ident() not in secrets.threads
    assert ahead.schemes == secrets.schemes
    await channel.close()
    assert holding.exits == 1
