"""A real engine with its dispatcher, a real mail server and a real HTTP sink that fail now and then. The dispatcher is killed at moments of
chance, and the engine too: every message is confirmed as if nothing had happened."""

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import notification_pb2
from tests.e2e.engines import EngineProcess, declare, is_alive, running_engine, wait_until
from tests.mail import MailSaid, MailServer
from tests.sinks import HttpSink, Posted, Said

KILLS = 10
MESSAGES_EACH = 8
FAULT_SHARE = 0.1
CALL_SECONDS = 30
ENVIRONMENT = "environments/e"
CONFIRMED = {notification_pb2.DELIVERY_STATE_ACCEPTED, notification_pb2.DELIVERY_STATE_DELIVERED}
CHANNELS = """
apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {{name: e}}
spec: {{}}
---
apiVersion: pymigrate.io/v1alpha1
kind: NotificationChannel
metadata: {{name: mail, environment: e}}
spec:
  smtp: {{host: 127.0.0.1, port: {mail}, security: none, sender: pm@example.com}}
  deliveriesMax: 4
  triesMax: 50
---
apiVersion: pymigrate.io/v1alpha1
kind: NotificationChannel
metadata: {{name: hook, environment: e}}
spec:
  webhook: {{url: "{hook}"}}
  deliveriesMax: 4
  triesMax: 50
"""


class Outside:
    """The receivers, both with faults of chance, and what they have."""

    def __init__(self, mail: MailServer, sink: HttpSink) -> None:
        self._rng = random.Random(7)
        self.mail, self.sink = mail, sink
        mail.answer, sink.answer = self._of_mail, self._of_http

    @property
    def asked(self) -> int:
        """How often anything was tried."""
        return len(self.sink.asked) + len(self.mail.asked)

    def arrived(self) -> Counter[str]:
        """How often each key did."""
        posted = (each.headers["idempotency-key"] for each in self.sink.taken)
        return Counter([*posted, *(each.key for each in self.mail.taken)])

    def _of_mail(self, stage: str, _: str) -> MailSaid | None:
        if stage != "END" or self._rng.random() >= FAULT_SHARE:
            return None
        return self._rng.choice(
            [MailSaid("451 later"), MailSaid(is_reset=True), MailSaid(is_reset=True, is_taken=True)]
        )

    def _of_http(self, _: Posted) -> Said:
        if self._rng.random() >= FAULT_SHARE:
            return Said()
        return self._rng.choice([Said(503), Said(is_reset=True), Said(is_reset=True, is_taken=True)])


@pytest.fixture
def outside(mail_server: MailServer, sink: HttpSink) -> Outside:
    return Outside(mail_server, sink)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside: Outside) -> Iterator[EngineProcess]:
    """An engine that may reach this machine, with both channels; it and its dispatcher are gone afterwards."""
    monkeypatch.setenv("PYMIGRATE_OUTGOING_ALLOWED", "127.0.0.0/8")
    home = tmp_path / "home"
    with running_engine(home) as process:
        with process.client() as client:
            text = CHANNELS.format(mail=outside.mail.port, hook=outside.sink.url)
            declare(client, text, tmp_path / "channels.yaml")
        yield process
    wait_until(lambda: not any(is_alive(pid) for pid in dispatchers(home)))


def dispatchers(home: Path) -> list[int]:
    """Every dispatcher that engines of this home have started, the newest last."""
    lines = (home / "engine.log").read_text().splitlines()
    found = (json.loads(line) for line in lines if '"dispatcher.begun"' in line)
    return [int(each["pid"]) for each in found]


def tell(client: Client, number: int) -> list[str]:
    """A message by each channel, and their names."""
    asked = [("mail", f"r{number}@example.com"), ("hook", "")]
    return [
        client.notifications.TestNotificationChannel(
            notification_pb2.TestNotificationChannelRequest(
                name=f"{ENVIRONMENT}/notificationChannels/{channel}", to=to
            ),
            metadata=client.metadata,
            timeout=CALL_SECONDS,
        ).name
        for channel, to in asked
    ]


def ledger(client: Client) -> dict[str, notification_pb2.NotificationDelivery]:
    """Every delivery as it stands."""
    request = notification_pb2.ListDeliveriesRequest(parent=ENVIRONMENT, page_size=1_000)
    answer = client.notifications.ListDeliveries(request, metadata=client.metadata, timeout=CALL_SECONDS)
    return {each.name: each for each in answer.deliveries}


def hold_to_proof(engine: EngineProcess, outside: Outside, told: list[str]) -> None:
    """Every message is confirmed and has arrived; one that arrived twice says that it may have."""
    with engine.client() as client:
        wait_until(lambda: all(each.state in CONFIRMED for each in ledger(client).values()), seconds=120)
        found = ledger(client)
    assert found.keys() == set(told)
    arrived = outside.arrived()
    assert arrived.keys() == {each.key for each in found.values()}
    for each in found.values():
        assert arrived[each.key] == 1 or each.may_be_repeated, each
        assert [attempt.outcome for attempt in each.tries][-1] == "accepted"


def test_a_dispatcher_that_is_killed_again_and_again_loses_nothing(engine: EngineProcess, outside: Outside) -> None:
    rng, told = random.Random(11), list[str]()
    for _ in range(KILLS):
        before = outside.asked
        with engine.client() as client:
            for _ in range(MESSAGES_EACH):
                told += tell(client, len(told))
        moment = before + rng.randint(1, MESSAGES_EACH)
        wait_until(lambda moment=moment: outside.asked >= moment, interval_seconds=0.002)  # type: ignore[misc]
        pid = dispatchers(engine.home)[-1]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: dispatchers(engine.home)[-1] != pid)  # type: ignore[misc]
    hold_to_proof(engine, outside, told)
    assert len(dispatchers(engine.home)) == KILLS + 1


def test_an_engine_that_is_killed_finds_every_message_again_and_its_dispatcher_ends(
    engine: EngineProcess, outside: Outside
) -> None:
    told = list[str]()
    with engine.client() as client:
        for _ in range(2 * MESSAGES_EACH):
            told += tell(client, len(told))
    wait_until(lambda: outside.asked >= 3, interval_seconds=0.002)
    (orphan,) = dispatchers(engine.home)
    engine.kill()
    engine.start()
    hold_to_proof(engine, outside, told)
    wait_until(lambda: not is_alive(orphan))
    assert len(dispatchers(engine.home)) == 2
