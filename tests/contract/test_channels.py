"""What every way out does, the fake included: each try ends as an outcome, whatever the receiver does, and no secret is told."""

import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from pymigrate.engine.adapters.channels.factory import build_channel
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.ports.channel import ANSWER_CHARACTERS_MAX, Channel, Sent
from pymigrate.engine.testing.channels import MemoryChannel
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.v1 import notification_pb2 as pb
from tests.letters import KEY, LOOPBACK, letter
from tests.mail import MailSaid, MailServer
from tests.pagers import Pager, PagerSaid
from tests.sinks import HttpSink, Said

HANGING_SECONDS = 2.0
APPRISE_SECONDS_MAX = 8.0
SECRET = "s3cret-of-the-channel"
SECRETS = MemorySecrets({"SECRET": SECRET})
AWAY = (TryOutcome.TRANSIENT, TryOutcome.UNKNOWN)


class Way(Protocol):
    """A channel and its receiver."""

    to: str

    @property
    def channel(self) -> Channel:
        """What is sent by."""
        ...

    def taken(self) -> Sequence[str]:
        """The keys of what the receiver has; where a receiver is told none, what else was told."""
        ...

    def refuse(self) -> None:
        """From now on the receiver wants nothing from it, for good, and says the secret aloud."""
        ...

    def put_off(self) -> None:
        """From now on the receiver asks to come again."""
        ...

    def reset(self) -> None:
        """From now on the connection dies before the receiver has anything."""
        ...

    def lose(self) -> None:
        """From now on the receiver takes it, and its answer is lost."""
        ...

    def hang(self) -> None:
        """From now on the receiver says nothing."""
        ...

    def recover(self) -> None:
        """The receiver takes everything again."""
        ...

    def end(self) -> None:
        """The receiver is gone."""
        ...


@dataclass
class FakeWay:
    channel: MemoryChannel = field(default_factory=lambda: MemoryChannel(HANGING_SECONDS))
    to: str = "ada"

    def taken(self) -> Sequence[str]:
        return [each.key for each in self.channel.taken]

    def refuse(self) -> None:
        self.channel.answer = lambda _: Sent(TryOutcome.PERMANENT, "no")

    def put_off(self) -> None:
        self.channel.answer = lambda _: Sent(TryOutcome.TRANSIENT, "later")

    reset = put_off

    def lose(self) -> None:
        self.channel.loses = lambda _: True

    def hang(self) -> None:
        self.channel.answer = lambda _: None

    def recover(self) -> None:
        self.channel.answer, self.channel.loses = lambda _: Sent(TryOutcome.ACCEPTED), lambda _: False

    end = put_off


class SmtpWay:
    to = "ada@example.com"

    def __init__(self, server: MailServer) -> None:
        self._server = server
        smtp = pb.SmtpChannel(
            host="127.0.0.1",
            port=server.port,
            security=pb.SMTP_SECURITY_NONE,
            username="us",
            password="env://SECRET",
            sender="PyMigrate <ops@example.com>",
        )
        declared = pb.NotificationChannel(smtp=smtp, try_seconds_max=HANGING_SECONDS)
        self.channel = build_channel(declared, SECRETS, LOOPBACK)

    def taken(self) -> Sequence[str]:
        return [each.key for each in self._server.taken]

    def _say(self, stage: str, said: MailSaid) -> None:
        self._server.answer = lambda at, _: said if at == stage else None

    def refuse(self) -> None:
        self._say("RCPT", MailSaid(f"550 5.1.1 nobody of that name, {SECRET}"))

    def put_off(self) -> None:
        self._say("END", MailSaid("451 4.3.0 later"))

    def reset(self) -> None:
        self._say("DATA", MailSaid(is_reset=True))

    def lose(self) -> None:
        self._say("END", MailSaid(is_reset=True, is_taken=True))

    def hang(self) -> None:
        self._say("MAIL", MailSaid(hangs=True))

    def recover(self) -> None:
        self._server.answer = lambda *_: None

    def end(self) -> None:
        self._server.close()


class SinkWay:
    """What a sink does, whichever channel posts to it."""

    def __init__(self, sink: HttpSink) -> None:
        self._sink = sink
        self._let_go = threading.Event()

    def put_off(self) -> None:
        self._sink.answer = lambda _: Said(503)

    def reset(self) -> None:
        self._sink.answer = lambda _: Said(is_reset=True)

    def lose(self) -> None:
        self._sink.answer = lambda _: Said(is_reset=True, is_taken=True)

    def hang(self) -> None:
        self._sink.answer = lambda _: Said(503, hangs_until=self._let_go)

    def recover(self) -> None:
        self._let_go.set()
        self._sink.answer = lambda _: Said()

    def end(self) -> None:
        self._sink.close()


class WebhookWay(SinkWay):
    def __init__(self, sink: HttpSink) -> None:
        super().__init__(sink)
        self.to = f"{sink.url}/hook"
        webhook = pb.WebhookChannel(signing_key="env://SECRET", secret_headers={"Authorization": "env://SECRET"})
        declared = pb.NotificationChannel(webhook=webhook, try_seconds_max=HANGING_SECONDS)
        self.channel = build_channel(declared, SECRETS, LOOPBACK)

    def taken(self) -> Sequence[str]:
        return [each.headers["idempotency-key"] for each in self._sink.taken]

    def refuse(self) -> None:
        self._sink.answer = lambda asked: Said(422, body=asked.headers["authorization"])


class AppriseWay(SinkWay):
    """Apprise tells a service no key, and says of what a service refuses only that it did."""

    to = "ada"

    def __init__(self, sink: HttpSink) -> None:
        super().__init__(sink)
        secrets = MemorySecrets({"URL": f"json://us:{SECRET}@127.0.0.1:{sink.port}/hook/{{to}}"})
        declared = pb.NotificationChannel(
            apprise=pb.AppriseChannel(url="env://URL"), try_seconds_max=APPRISE_SECONDS_MAX
        )
        self.channel = build_channel(declared, secrets, LOOPBACK)

    def taken(self) -> Sequence[str]:
        return [each.path for each in self._sink.taken]

    def refuse(self) -> None:
        self._sink.answer = lambda _: Said(422, body=SECRET)


class PluginWay:
    """The example of a channel that another package brings."""

    to = "42"

    def __init__(self, pager: Pager) -> None:
        self._pager = pager
        options = {"server": f"127.0.0.1:{pager.port}", "token": "env://SECRET"}
        declared = pb.NotificationChannel(
            plugin=pb.PluginChannel(kind="pager", options=options), try_seconds_max=HANGING_SECONDS
        )
        self.channel = build_channel(declared, SECRETS, LOOPBACK)

    def taken(self) -> Sequence[str]:
        return [each.split()[1] for each in self._pager.taken]

    def refuse(self) -> None:
        self._pager.says = PagerSaid(f"NOBODY has that number, {SECRET}")

    def put_off(self) -> None:
        self._pager.says = PagerSaid("BUSY")

    def reset(self) -> None:
        self._pager.says = PagerSaid("")

    def lose(self) -> None:
        self._pager.says = PagerSaid("", is_taken=True)

    def hang(self) -> None:
        self._pager.says = PagerSaid("", hangs=True)

    def recover(self) -> None:
        self._pager.says = PagerSaid("OK", is_taken=True)

    def end(self) -> None:
        self._pager.close()


@pytest.fixture(params=["fake", "smtp", "webhook", "apprise", "plugin"])
async def way(request: pytest.FixtureRequest, pager_package: Path) -> AsyncIterator[Way]:
    if request.param == "smtp":
        server = MailServer(password=SECRET)
        smtp = SmtpWay(server)
        yield smtp
        await smtp.channel.close()
        server.close()
    elif request.param == "webhook":
        sink = HttpSink()
        webhook = WebhookWay(sink)
        yield webhook
        webhook.recover()
        await webhook.channel.close()
        sink.close()
    elif request.param == "apprise":
        sink = HttpSink()
        apprise = AppriseWay(sink)
        yield apprise
        apprise.recover()
        await apprise.channel.close()
        sink.close()
    elif request.param == "plugin":
        pager = Pager()
        plugin = PluginWay(pager)
        yield plugin
        await plugin.channel.close()
        pager.close()
    else:
        yield FakeWay()


async def send(way: Way, to: str = "") -> Sent:
    """One letter, whose answer tells no secret and is not too long."""
    sent = await way.channel.send(letter(to=to or way.to))
    assert SECRET not in sent.answer
    assert len(sent.answer) <= ANSWER_CHARACTERS_MAX
    return sent


KEYED = pytest.mark.parametrize("way", ["fake", "smtp", "webhook", "plugin"], indirect=True)


async def test_a_letter_that_is_taken_is_accepted(way: Way) -> None:
    assert (await send(way)).outcome is TryOutcome.ACCEPTED
    assert len(way.taken()) == 1


@KEYED
async def test_a_letter_carries_its_key(way: Way) -> None:
    await send(way)
    assert way.taken() == [KEY]


@KEYED
async def test_what_the_receiver_never_wants_is_permanent_and_says_what_it_said(way: Way) -> None:
    way.refuse()
    sent = await send(way)
    assert sent.outcome is TryOutcome.PERMANENT
    assert sent.answer
    assert way.taken() == []


async def test_what_the_receiver_can_not_take_now_is_tried_again(way: Way) -> None:
    way.put_off()
    assert (await send(way)).outcome is TryOutcome.TRANSIENT
    way.recover()
    assert (await send(way)).outcome is TryOutcome.ACCEPTED
    assert len(way.taken()) == 1


async def test_a_connection_that_dies_leaves_nothing_behind_and_may_be_tried_again(way: Way) -> None:
    way.reset()
    assert (await send(way)).outcome in AWAY
    assert way.taken() == []
    way.recover()
    assert (await send(way)).outcome is TryOutcome.ACCEPTED


@KEYED
async def test_a_lost_answer_is_unknown_and_the_repetition_carries_the_same_key(way: Way) -> None:
    way.lose()
    assert (await send(way)).outcome is TryOutcome.UNKNOWN
    way.recover()
    assert (await send(way)).outcome is TryOutcome.ACCEPTED
    assert way.taken() == [KEY, KEY]


async def test_a_receiver_that_says_nothing_is_given_up_in_time(way: Way) -> None:
    way.hang()
    assert (await send(way)).outcome in AWAY
    way.recover()
    assert (await send(way)).outcome is TryOutcome.ACCEPTED


async def test_a_receiver_that_is_gone_is_tried_again(way: Way) -> None:
    way.end()
    assert (await send(way)).outcome is TryOutcome.TRANSIENT


async def test_a_channel_that_was_never_used_closes_without_having_told_anybody(way: Way) -> None:
    await way.channel.close()
    assert list(way.taken()) == []


NOWHERE = ["", "\r\n", "nobody\x00", "a,b", "\ud800", "x" * 100_000]


@pytest.mark.parametrize("way", ["smtp", "webhook", "apprise", "plugin"], indirect=True)
async def test_what_can_not_be_sent_to_is_an_outcome_and_no_error(way: Way) -> None:
    for to in NOWHERE:
        sent = await way.channel.send(letter(to=to))
        assert sent.outcome is TryOutcome.PERMANENT, to
        assert sent.answer
        assert sent.answer.isprintable()
        assert len(sent.answer) <= ANSWER_CHARACTERS_MAX
    assert way.taken() == []
