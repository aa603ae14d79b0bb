"""Mail through a real server: encrypted and logged in as declared, over few connections, and judged by what the server says."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.adapters.channels.factory import build_channel
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.ports.channel import Channel, Sent
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.v1 import notification_pb2 as pb
from tests.letters import LOOPBACK, letter, usual_trust
from tests.mail import HOST, Certificates, MailSaid, MailServer

PASSWORD = "an old password"


async def to_loopback(host: str, port: int) -> Iterable[str]:
    """Every name leads to this machine."""
    return ["127.0.0.1"]


@asynccontextmanager
async def opened(
    server: MailServer, certificates: Certificates | None = None, **changed: Any
) -> AsyncIterator[Channel]:
    """A channel to the server by its name, closed in the end."""
    secrets = changed.pop("secrets", None) or MemorySecrets(changed.pop("variables", {}))
    try_seconds_max = changed.pop("try_seconds_max", 30.0)
    smtp = pb.SmtpChannel(host=HOST, port=server.port, sender="PyMigrate <ops@example.com>", connections_max=3)
    smtp.MergeFrom(pb.SmtpChannel(**changed))
    channel = build_channel(
        pb.NotificationChannel(smtp=smtp, try_seconds_max=try_seconds_max),
        secrets,
        OutgoingAddresses(LOOPBACK.allowed, to_loopback),
        certificates.trust if certificates is not None else usual_trust(),
    )
    yield channel
    await channel.close()


@pytest.fixture
def encrypted(certificates: Certificates) -> Iterator[MailServer]:
    server = MailServer(starttls=certificates.server, password=PASSWORD)
    yield server
    server.close()


NONE: dict[str, Any] = {"security": pb.SMTP_SECURITY_NONE}
LOGIN: dict[str, Any] = {"username": "us", "password": "env://PASSWORD"}


async def test_mail_goes_out_encrypted_and_logged_in(encrypted: MailServer, certificates: Certificates) -> None:
    async with opened(encrypted, certificates, **LOGIN, variables={"PASSWORD": PASSWORD}) as channel:
        sent = await channel.send(letter())
    assert (sent.outcome, sent.answer) == (TryOutcome.ACCEPTED, "250 OK queued as 1")
    assert encrypted.logins == 1
    assert encrypted.taken[0].recipient == "ada@example.com"
    assert encrypted.taken[0].sender == "ops@example.com"


async def test_mail_goes_out_encrypted_from_the_beginning(certificates: Certificates) -> None:
    server = MailServer(tls=certificates.server)
    try:
        async with opened(server, certificates, security=pb.SMTP_SECURITY_TLS) as channel:
            assert (await channel.send(letter())).outcome is TryOutcome.ACCEPTED
    finally:
        server.close()


async def test_a_server_without_starttls_gets_neither_password_nor_mail(
    mail_server: MailServer, certificates: Certificates
) -> None:
    async with opened(mail_server, certificates, **LOGIN, variables={"PASSWORD": PASSWORD}) as channel:
        sent = await channel.send(letter())
    assert sent.outcome is TryOutcome.TRANSIENT
    assert "STARTTLS" in sent.answer
    assert (mail_server.logins, mail_server.taken) == (0, [])


async def test_a_certificate_of_another_name_is_not_taken(encrypted: MailServer, certificates: Certificates) -> None:
    async with opened(encrypted, certificates, host="other.test") as channel:
        sent = await channel.send(letter())
    assert sent.outcome is TryOutcome.TRANSIENT
    assert "certificate" in sent.answer.lower()
    assert encrypted.taken == []


async def test_a_certificate_that_nobody_vouches_for_is_not_taken(encrypted: MailServer) -> None:
    async with opened(encrypted) as channel:
        assert (await channel.send(letter())).outcome is TryOutcome.TRANSIENT
    assert encrypted.taken == []


async def test_a_wrong_password_is_tried_again_and_read_anew(encrypted: MailServer, certificates: Certificates) -> None:
    secrets = MemorySecrets({"PASSWORD": "a wrong password"})
    async with opened(encrypted, certificates, **LOGIN, secrets=secrets) as channel:
        refused = await channel.send(letter())
        secrets.put("PASSWORD", PASSWORD)
        accepted = await channel.send(letter())
    assert refused.outcome is TryOutcome.TRANSIENT
    assert "does not accept the channel's credentials" in refused.answer
    assert "a wrong password" not in refused.answer
    assert accepted.outcome is TryOutcome.ACCEPTED


async def test_a_password_that_is_not_there_is_tried_again(encrypted: MailServer, certificates: Certificates) -> None:
    async with opened(encrypted, certificates, **LOGIN) as channel:
        sent = await channel.send(letter())
    assert sent.outcome is TryOutcome.TRANSIENT
    assert "env://PASSWORD" in sent.answer


async def test_unencrypted_mail_goes_to_allowed_networks_only(mail_server: MailServer) -> None:
    async def elsewhere(host: str, port: int) -> Iterable[str]:
        return ["93.184.215.14"]

    smtp = pb.SmtpChannel(host=HOST, port=mail_server.port, sender="ops@example.com", security=pb.SMTP_SECURITY_NONE)
    channel = build_channel(
        pb.NotificationChannel(smtp=smtp), MemorySecrets(), OutgoingAddresses(LOOPBACK.allowed, elsewhere)
    )
    sent = await channel.send(letter())
    assert sent.outcome is TryOutcome.PERMANENT
    assert "PYMIGRATE_OUTGOING_ALLOWED" in sent.answer


async def test_many_letters_share_few_connections(mail_server: MailServer) -> None:
    async with opened(mail_server, **NONE) as channel:
        sent = await asyncio.gather(*(channel.send(letter(key=f"{number:064x}")) for number in range(50)))
    assert {each.outcome for each in sent} == {TryOutcome.ACCEPTED}
    assert sorted(each.key for each in mail_server.taken) == [f"{number:064x}" for number in range(50)]
    assert mail_server.connections == 3


async def test_a_kept_connection_that_has_died_costs_no_try(mail_server: MailServer) -> None:
    async with opened(mail_server, **NONE) as channel:
        await channel.send(letter())
        mail_server.drop_connections()
        assert (await channel.send(letter())).outcome is TryOutcome.ACCEPTED
    assert (mail_server.connections, len(mail_server.taken)) == (2, 2)


@pytest.mark.parametrize("farewell", [MailSaid("421 4.4.2 idle for too long"), MailSaid(is_reset=True)])
async def test_a_kept_connection_that_says_goodbye_costs_no_try(mail_server: MailServer, farewell: MailSaid) -> None:
    async with opened(mail_server, **NONE) as channel:
        await channel.send(letter())
        once = iter([farewell])
        mail_server.answer = lambda stage, _: next(once, None) if stage == "MAIL" else None
        assert (await channel.send(letter())).outcome is TryOutcome.ACCEPTED
    assert (mail_server.connections, len(mail_server.taken)) == (2, 2)


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("421 4.7.0 too busy", TryOutcome.TRANSIENT),
        ("450 4.2.0 greylisted", TryOutcome.TRANSIENT),
        ("451 4.3.0 later", TryOutcome.TRANSIENT),
        ("452 4.3.1 no space", TryOutcome.TRANSIENT),
        ("503 5.5.1 out of step", TryOutcome.TRANSIENT),
        ("530 5.7.0 log in first", TryOutcome.TRANSIENT),
        ("550 5.1.1 nobody of that name", TryOutcome.PERMANENT),
        ("552 5.3.4 too large", TryOutcome.PERMANENT),
        ("554 5.7.1 spam", TryOutcome.PERMANENT),
    ],
)
async def test_the_server_s_code_says_what_came_of_a_try_and_the_next_is_not_touched_by_it(
    mail_server: MailServer, stage: str, status: str, outcome: TryOutcome
) -> None:
    async with opened(mail_server, **NONE) as channel:
        mail_server.answer = lambda at, _: MailSaid(status) if at == stage else None
        sent = await channel.send(letter())
        mail_server.answer = lambda *_: None
        after = await channel.send(letter())
    assert (sent.outcome, sent.answer.startswith(status)) == (outcome, True)
    assert after.outcome is TryOutcome.ACCEPTED
    assert len(mail_server.taken) == 1


@pytest.mark.parametrize(
    ("stage", "outcome"),
    [
        ("MAIL", TryOutcome.TRANSIENT),
        ("RCPT", TryOutcome.TRANSIENT),
        ("DATA", TryOutcome.TRANSIENT),
        ("END", TryOutcome.UNKNOWN),
    ],
)
@pytest.mark.parametrize("said", [MailSaid(is_reset=True), MailSaid(hangs=True)])
async def test_a_try_without_an_answer_is_unknown_only_after_the_mail_s_last_line(
    mail_server: MailServer, stage: str, said: MailSaid, outcome: TryOutcome
) -> None:
    async with opened(mail_server, **NONE, try_seconds_max=2.0) as channel:
        mail_server.answer = lambda at, _: said if at == stage else None
        assert (await channel.send(letter())).outcome is outcome


async def test_one_recipient_s_trouble_is_no_other_s(mail_server: MailServer) -> None:
    mail_server.answer = lambda stage, to: MailSaid("550 no") if (stage, to[:3]) == ("RCPT", "bad") else None
    async with opened(mail_server, **NONE) as channel:
        sent = await asyncio.gather(*(channel.send(letter(to=f"{name}@example.com")) for name in ["bad", "good"] * 20))
    assert [each.outcome for each in sent] == [TryOutcome.PERMANENT, TryOutcome.ACCEPTED] * 20
    assert mail_server.connections == 3


@pytest.mark.parametrize("sender", ["", "nobody", "a@example.com\r\nBcc: eve@example.com"])
async def test_a_channel_with_a_sender_that_is_none_says_so_at_each_try(mail_server: MailServer, sender: str) -> None:
    smtp = pb.SmtpChannel(host=HOST, port=mail_server.port, sender=sender)
    channel = build_channel(pb.NotificationChannel(smtp=smtp), MemorySecrets(), LOOPBACK)
    sent: Sent = await channel.send(letter())
    assert sent.outcome is TryOutcome.PERMANENT
    assert "smtp.sender" in sent.answer
    await channel.close()


async def test_a_password_written_into_a_definition_is_refused_without_being_shown(mail_server: MailServer) -> None:
    smtp = pb.SmtpChannel(host=HOST, port=mail_server.port, sender="ops@example.com", username="us", password="hunter2")
    channel = build_channel(pb.NotificationChannel(smtp=smtp), MemorySecrets(os.environ), LOOPBACK)
    sent = await channel.send(letter())
    assert sent.outcome is TryOutcome.PERMANENT
    assert "hunter2" not in sent.answer
