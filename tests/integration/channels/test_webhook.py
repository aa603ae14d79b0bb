"""Webhooks against a real receiver: signed so that it can check them, known again by their key, and never to where they must not go."""

import asyncio
import socket
import threading
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http.server import HTTPServer
from typing import Any, ClassVar

import httpx
import orjson
import pytest

from examples.notifications.verify_webhook import NotFromPyMigrateError, Receiver, verify
from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.adapters.channels.factory import build_channel
from pymigrate.engine.adapters.channels.outgoing_http import OutgoingTransport
from pymigrate.engine.adapters.channels.webhook_signing import signature
from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.ports.channel import Channel, Sent
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.v1 import notification_pb2 as pb
from tests.letters import KEY, LOOPBACK, TIME, letter, usual_trust
from tests.mail import Certificates
from tests.sinks import HttpSink, Posted, Said

SIGNING_KEY = "whsec_" + b64encode(bytes(range(32))).decode()
FORMER_KEY = "a key of before, as it is"
NOW = TIME.timestamp()


async def to_loopback(host: str, port: int) -> Iterable[str]:
    """Every name leads to this machine."""
    return ["127.0.0.1"]


@asynccontextmanager
async def opened(
    webhook: pb.WebhookChannel,
    secrets: MemorySecrets | Mapping[str, str] | None = None,
    addresses: OutgoingAddresses = LOOPBACK,
    certificates: Certificates | None = None,
) -> AsyncIterator[Channel]:
    """The channel, closed in the end."""
    trust = certificates.trust if certificates is not None else usual_trust()
    read = secrets if isinstance(secrets, MemorySecrets) else MemorySecrets(secrets)
    channel = build_channel(pb.NotificationChannel(webhook=webhook, try_seconds_max=30), read, addresses, trust)
    yield channel
    await channel.close()


async def sent_once(url: str, addresses: OutgoingAddresses = LOOPBACK, **changed: Any) -> Sent:
    """What comes of one letter to a URL."""
    async with opened(pb.WebhookChannel(), addresses=addresses) as channel:
        return await channel.send(letter(to=url, **changed))


async def test_the_event_is_posted_as_it_is_with_its_key(sink: HttpSink) -> None:
    assert (await sent_once(f"{sink.url}/hook?of=us")).outcome is TryOutcome.ACCEPTED
    (taken,) = sink.taken
    assert (taken.path, taken.body) == ("/hook?of=us", letter().event)
    assert taken.headers["content-type"] == "application/cloudevents+json"
    assert taken.headers["idempotency-key"] == taken.headers["webhook-id"] == KEY
    assert "webhook-signature" not in taken.headers


async def test_a_receiver_can_check_the_signature(sink: HttpSink) -> None:
    webhook = pb.WebhookChannel(url=sink.url, signing_key="env://KEY")
    async with opened(webhook, {"KEY": SIGNING_KEY}) as channel:
        await channel.send(letter(to=""))
    (taken,) = sink.taken
    verify(SIGNING_KEY, taken.headers, taken.body, NOW)
    for key, headers, body, now in [
        (FORMER_KEY, taken.headers, taken.body, NOW),
        (SIGNING_KEY, taken.headers, taken.body + b" ", NOW),
        (SIGNING_KEY, {**taken.headers, "webhook-id": "another"}, taken.body, NOW),
        (SIGNING_KEY, {**taken.headers, "webhook-timestamp": str(int(NOW) + 1)}, taken.body, NOW),
        (SIGNING_KEY, {**taken.headers, "webhook-timestamp": ""}, taken.body, NOW),
        (SIGNING_KEY, taken.headers, taken.body, NOW + 301),
    ]:
        with pytest.raises(NotFromPyMigrateError):
            verify(key, headers, body, now)


async def test_the_example_of_a_receiver_takes_what_is_signed_and_nothing_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Ours(Receiver):
        key = SIGNING_KEY
        taken: ClassVar[dict[str, None]] = {}

        def log_message(self, format: str, *_: object) -> None:
            """Nothing on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Ours)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    webhook = pb.WebhookChannel(url=f"http://127.0.0.1:{server.server_port}/", signing_key="env://KEY")
    variables = {"KEY": SIGNING_KEY}
    now = SystemClock().now()
    try:
        async with opened(webhook, variables) as channel:
            twice = [await channel.send(letter(to="", time=now)) for _ in range(2)]
            old = await channel.send(letter(to="", key="an-old-one"))
        async with opened(webhook, {"KEY": FORMER_KEY}) as channel:
            forged = await channel.send(letter(to="", key="a-forged-one", time=now))
    finally:
        await asyncio.to_thread(server.shutdown)
        serving.join()
        server.server_close()
    assert [each.outcome for each in twice] == [TryOutcome.ACCEPTED] * 2
    assert [each.outcome for each in (old, forged)] == [TryOutcome.TRANSIENT] * 2
    assert list(Ours.taken) == [KEY]
    assert capsys.readouterr().out.count("specversion") == 1


async def test_while_a_key_is_changed_either_is_good(sink: HttpSink) -> None:
    webhook = pb.WebhookChannel(url=sink.url, signing_key="env://KEY", former_signing_key="env://FORMER")
    async with opened(webhook, {"KEY": SIGNING_KEY, "FORMER": FORMER_KEY}) as channel:
        await channel.send(letter(to=""))
    (taken,) = sink.taken
    for key in (SIGNING_KEY, FORMER_KEY):
        verify(key, taken.headers, taken.body, NOW)


def test_the_signature_is_that_of_the_specification_s_own_example() -> None:
    key, body = b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    given = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature([b64decode(key)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == given


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, TryOutcome.ACCEPTED),
        (202, TryOutcome.ACCEPTED),
        (204, TryOutcome.ACCEPTED),
        (301, TryOutcome.PERMANENT),
        (307, TryOutcome.PERMANENT),
        (400, TryOutcome.PERMANENT),
        (401, TryOutcome.TRANSIENT),
        (403, TryOutcome.TRANSIENT),
        (404, TryOutcome.PERMANENT),
        (408, TryOutcome.TRANSIENT),
        (409, TryOutcome.TRANSIENT),
        (410, TryOutcome.PERMANENT),
        (413, TryOutcome.PERMANENT),
        (422, TryOutcome.PERMANENT),
        (425, TryOutcome.TRANSIENT),
        (429, TryOutcome.TRANSIENT),
        (500, TryOutcome.TRANSIENT),
        (502, TryOutcome.TRANSIENT),
        (503, TryOutcome.TRANSIENT),
        (504, TryOutcome.TRANSIENT),
    ],
)
async def test_the_status_says_what_came_of_a_try(sink: HttpSink, status: int, outcome: TryOutcome) -> None:
    sink.answer = lambda _: Said(status)
    sent = await sent_once(sink.url)
    assert (sent.outcome, sent.answer.startswith(str(status))) == (outcome, True)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("7", 7.0),
        ("Sun, 01 Mar 2026 12:02:00 GMT", 120.0),
        ("999999999", 86_400.0),
    ],
)
async def test_what_the_receiver_asks_to_wait_is_told(sink: HttpSink, status: int, given: str, seconds: float) -> None:
    date = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    sink.answer = lambda _: Said(status, retry_after=given, headers={"X-Date": date}, date=date)
    sent = await sent_once(sink.url)
    assert (sent.outcome, sent.retry_after_seconds) == (TryOutcome.THROTTLED, seconds)


@pytest.mark.parametrize("given", ["soon", "-5", "0", "Sun, 01 Mar 2020 12:02:00 GMT"])
async def test_what_is_no_time_to_wait_is_not_heeded(sink: HttpSink, given: str) -> None:
    sink.answer = lambda _: Said(503, retry_after=given)
    sent = await sent_once(sink.url)
    assert (sent.outcome, sent.retry_after_seconds) == (TryOutcome.TRANSIENT, 0.0)


async def test_a_redirect_is_not_followed(sink: HttpSink) -> None:
    sink.answer = lambda _: Said(307, headers={"location": f"{sink.url}/elsewhere"})
    sent = await sent_once(sink.url)
    assert sent.outcome is TryOutcome.PERMANENT
    assert "redirects are not followed" in sent.answer
    assert len(sink.asked) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1"])
async def test_an_address_inside_is_refused_for_good_and_not_connected_to(sink: HttpSink, host: str) -> None:
    sent = await sent_once(f"http://{host}:{sink.port}/latest/meta-data", OutgoingAddresses())
    assert sent.outcome is TryOutcome.PERMANENT
    assert "PYMIGRATE_OUTGOING_ALLOWED" in sent.answer
    assert sink.asked == []


async def test_a_name_is_asked_for_once_so_that_it_can_not_change_after_it_was_judged(sink: HttpSink) -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])

    async def rebinding(host: str, port: int) -> Iterable[str]:
        return next(answers)

    sent = await sent_once(f"http://hooks.test:{sink.port}/", OutgoingAddresses(LOOPBACK.allowed, rebinding))
    assert sent.outcome is TryOutcome.ACCEPTED
    assert next(answers) == ["169.254.169.254"]
    assert sink.taken[0].headers["host"] == f"hooks.test:{sink.port}"


async def test_a_name_that_leads_nowhere_is_tried_again() -> None:
    async def nowhere(host: str, port: int) -> Iterable[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    assert (await sent_once("https://hooks.test/", OutgoingAddresses(resolve=nowhere))).outcome is TryOutcome.TRANSIENT


async def test_tls_is_held_to_the_name(certificates: Certificates) -> None:
    sink = HttpSink(tls=certificates.server)
    addresses = OutgoingAddresses(LOOPBACK.allowed, to_loopback)
    try:
        async with opened(pb.WebhookChannel(), None, addresses, certificates) as channel:
            right = await channel.send(letter(to=f"https://hooks.test:{sink.port}/"))
            wrong = await channel.send(letter(to=f"https://other.test:{sink.port}/"))
    finally:
        sink.close()
    assert right.outcome is TryOutcome.ACCEPTED
    assert wrong.outcome is TryOutcome.TRANSIENT
    assert "certificate" in wrong.answer.lower()
    assert len(sink.taken) == 1


async def test_letters_share_a_connection(sink: HttpSink) -> None:
    async with opened(pb.WebhookChannel(url=sink.url)) as channel:
        for _ in range(3):
            assert (await channel.send(letter(to=""))).outcome is TryOutcome.ACCEPTED
    assert len({each.from_port for each in sink.taken}) == 1


async def test_of_connections_to_many_receivers_only_so_many_are_kept(sink: HttpSink) -> None:
    other = HttpSink()
    transport = OutgoingTransport(LOOPBACK, usual_trust(), kept_max=1)
    try:
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            for url in (sink.url, sink.url, other.url, sink.url):
                assert (await client.post(url, content=b"{}")).status_code == 200
    finally:
        other.close()
    first, again, after = (each.from_port for each in sink.taken)
    assert first == again != after


async def test_a_connection_that_the_receiver_ends_is_not_used_again(sink: HttpSink) -> None:
    sink.answer = lambda _: Said(headers={"connection": "close"})
    async with opened(pb.WebhookChannel(url=sink.url)) as channel:
        sent = [await channel.send(letter(to="")) for _ in range(2)]
    assert [each.outcome for each in sent] == [TryOutcome.ACCEPTED] * 2
    assert len({each.from_port for each in sink.taken}) == 2


async def test_the_channel_s_credentials_go_to_the_channel_s_own_receiver_alone(sink: HttpSink) -> None:
    other = HttpSink()
    webhook = pb.WebhookChannel(url=sink.url, secret_headers={"Authorization": "env://TOKEN"})
    try:
        async with opened(webhook, {"TOKEN": "Bearer t0ken"}) as channel:
            for to in ("", f"{sink.url}/other", other.url):
                await channel.send(letter(to=to))
    finally:
        other.close()
    assert [each.headers.get("authorization") for each in sink.taken] == ["Bearer t0ken"] * 2
    assert "authorization" not in other.taken[0].headers


async def test_credentials_that_are_not_accepted_are_read_anew(sink: HttpSink) -> None:
    secrets = MemorySecrets({"TOKEN": "Bearer old"})

    def judged(asked: Posted) -> Said:
        return Said(401 if asked.headers["authorization"] == "Bearer old" else 200)

    sink.answer = judged
    async with opened(
        pb.WebhookChannel(url=sink.url, secret_headers={"Authorization": "env://TOKEN"}), secrets
    ) as channel:
        refused = await channel.send(letter(to=""))
        secrets.put("TOKEN", "Bearer new")
        accepted = await channel.send(letter(to=""))
    assert (refused.outcome, accepted.outcome) == (TryOutcome.TRANSIENT, TryOutcome.ACCEPTED)


@pytest.mark.parametrize(
    ("webhook", "variables", "said"),
    [
        ({"signing_key": "env://KEY"}, {"KEY": "whsec_%%%"}, "no base64"),
        ({"signing_key": "env://KEY"}, {"KEY": ""}, "an empty key"),
        ({"secret_headers": {"X-Token": "env://KEY"}}, {"KEY": "a\r\nb"}, "no header may have"),
        ({"secret_headers": {"Host": "env://KEY"}}, {"KEY": "an0ther-host"}, "a header of PyMigrate's own"),
        ({"signing_key": "hunter2-the-key-itself"}, {}, "is no reference"),
        ({"url": "ftp://example.com"}, {}, "is no URL that begins with"),
        ({"url": "https://us:hunter2@example.com"}, {}, "holds credentials"),
        ({}, {}, "neither the address nor the channel has a URL"),
    ],
)
async def test_what_is_declared_wrongly_is_said_at_each_try(
    webhook: dict[str, Any], variables: dict[str, str], said: str
) -> None:
    async with opened(
        pb.WebhookChannel(**{"url": "" if said.startswith("neither") else "http://127.0.0.1:1", **webhook}), variables
    ) as channel:
        sent = await channel.send(letter(to=""))
    assert sent.outcome is TryOutcome.PERMANENT
    assert said in sent.answer
    assert "hunter2" not in sent.answer


async def test_a_secret_that_is_not_there_is_tried_again() -> None:
    async with opened(pb.WebhookChannel(url="http://127.0.0.1:1", signing_key="env://KEY")) as channel:
        sent = await channel.send(letter(to=""))
    assert (sent.outcome, "env://KEY" in sent.answer) == (TryOutcome.TRANSIENT, True)


async def test_a_long_answer_is_cut_and_no_half_of_a_secret_is_left_at_its_end(sink: HttpSink) -> None:
    sink.answer = lambda asked: Said(400, body=asked.headers["x-token"] * 3)
    webhook = pb.WebhookChannel(url=sink.url, secret_headers={"X-Token": "env://TOKEN"})
    token = "0123456789" * 180
    async with opened(webhook, {"TOKEN": token}) as channel:
        sent = await channel.send(letter(to=""))
    assert sent.outcome is TryOutcome.PERMANENT
    assert "0123456789" not in sent.answer


async def test_a_status_holds_though_the_rest_of_the_answer_never_comes(sink: HttpSink) -> None:
    let_go = threading.Event()
    sink.answer = lambda _: Said(202, body="never", drips_until=let_go)
    declared = pb.NotificationChannel(webhook=pb.WebhookChannel(url=sink.url), try_seconds_max=2.0)
    channel = build_channel(declared, MemorySecrets(), LOOPBACK)
    sent = await channel.send(letter(to=""))
    let_go.set()
    await channel.close()
    assert (sent.outcome, sent.answer) == (TryOutcome.ACCEPTED, "202")


async def test_a_message_that_tells_of_no_event_is_a_cloudevent_of_its_own(sink: HttpSink) -> None:
    await sent_once(sink.url, event=b"", acknowledge_url="https://engine.example/a")
    event = orjson.loads(sink.taken[0].body)
    assert (event["specversion"], event["id"], event["type"]) == ("1.0", KEY, "io.pymigrate.notification")
    assert event["data"] == {
        "subject": letter().subject,
        "body": letter().body,
        "acknowledgeUrl": "https://engine.example/a",
    }
