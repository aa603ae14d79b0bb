"""Apprise in its own process: it reaches what may be reached and nothing else, and is replaced when it hangs or dies."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.adapters.channels.apprise import AppriseChannel
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.domain.errors import SecretMissing
from pymigrate.engine.ports.secrets import Secret
from tests.letters import LOOPBACK, letter
from tests.sinks import HttpSink, Posted, Said

SECONDS_MAX = 60.0


@asynccontextmanager
async def opened(
    url: str, addresses: OutgoingAddresses = LOOPBACK, try_seconds_max: float = SECONDS_MAX
) -> AsyncIterator[AppriseChannel]:
    """A channel by a URL, closed in the end."""
    channel = AppriseChannel(lambda: Secret(url), addresses, try_seconds_max)
    yield channel
    await channel.close()


async def test_a_message_arrives_at_the_address_with_its_link(sink: HttpSink) -> None:
    async with opened(f"json://127.0.0.1:{sink.port}/to/{{to}}") as channel:
        sent = await channel.send(letter(to="ada/../eve", acknowledge_url="https://engine.example/a"))
    assert sent.outcome is TryOutcome.ACCEPTED
    (taken,) = sink.taken
    assert taken.path == "/to/ada%2F..%2Feve"
    assert b"Phase sales has failed" in taken.body
    assert b"The source is away." in taken.body
    assert b"https://engine.example/a" in taken.body


async def test_a_service_with_a_protocol_of_its_own_is_spoken_to(sink: HttpSink) -> None:
    async with opened(f"ntfy://tk_t0ken@127.0.0.1:{sink.port}/{{to}}") as channel:
        assert (await channel.send(letter(to="ops"))).outcome is TryOutcome.ACCEPTED
    (taken,) = sink.taken
    assert taken.headers["authorization"] == "Bearer tk_t0ken"
    assert b'"topic": "ops"' in taken.body


async def test_what_a_service_complains_of_is_told_and_tried_again(sink: HttpSink) -> None:
    sink.answer = lambda _: Said(503)
    async with opened(f"json://us:passw0rd@127.0.0.1:{sink.port}/") as channel:
        sent = await channel.send(letter())
    assert sent.outcome is TryOutcome.TRANSIENT
    assert "503" in sent.answer


async def test_redirects_are_not_followed_and_the_machine_itself_is_not_reached(sink: HttpSink) -> None:
    sink.answer = lambda _: Said(307, headers={"location": f"{sink.url}/elsewhere"})
    url = f"json://127.0.0.1:{sink.port}/hook"
    async with opened(url) as channel:
        assert (await channel.send(letter())).outcome is TryOutcome.TRANSIENT
    assert [each.path for each in sink.asked] == ["/hook"]
    async with opened(url, OutgoingAddresses()) as channel:
        sent = await channel.send(letter())
    assert sent.outcome is TryOutcome.PERMANENT
    assert "PYMIGRATE_OUTGOING_ALLOWED" in sent.answer
    assert len(sink.asked) == 1


async def test_a_host_that_is_allowed_by_its_name_is_reached(sink: HttpSink) -> None:
    async with opened(f"json://localhost:{sink.port}/", OutgoingAddresses(["localhost"])) as channel:
        assert (await channel.send(letter())).outcome is TryOutcome.ACCEPTED


async def test_datagrams_are_held_to_the_same_addresses() -> None:
    async with opened("rsyslog://127.0.0.1:9", OutgoingAddresses()) as channel:
        assert (await channel.send(letter())).outcome is TryOutcome.PERMANENT


@pytest.mark.parametrize("url", ["nonsense://a/b", "slack://", "syslog://"])
async def test_a_url_that_means_nothing_is_permanent(url: str) -> None:
    async with opened(url) as channel:
        assert (await channel.send(letter())).outcome is TryOutcome.PERMANENT


async def test_a_url_that_is_not_there_is_tried_again() -> None:
    def missing() -> Secret:
        raise SecretMissing("env://URL: the environment has no variable URL")

    channel = AppriseChannel(missing, LOOPBACK, SECONDS_MAX)
    sent = await channel.send(letter())
    assert (sent.outcome, "env://URL" in sent.answer) == (TryOutcome.TRANSIENT, True)
    await channel.close()


async def test_many_messages_are_sent_side_by_side(sink: HttpSink) -> None:
    together = threading.Barrier(8, timeout=SECONDS_MAX)

    def meeting(_: Posted) -> Said:
        together.wait()
        return Said()

    sink.answer = meeting
    async with opened(f"json://127.0.0.1:{sink.port}/{{to}}") as channel:
        sent = await asyncio.gather(*(channel.send(letter(to=str(number))) for number in range(8)))
    assert {each.outcome for each in sent} == {TryOutcome.ACCEPTED}


async def test_a_process_in_which_a_message_hangs_is_ended_and_replaced(sink: HttpSink) -> None:
    let_go = threading.Event()
    async with opened(f"json://127.0.0.1:{sink.port}/{{to}}?rto=60", try_seconds_max=12.0) as channel:
        await channel.send(letter(to="first"))
        (hanging,) = processes(channel)
        sink.answer = lambda asked: Said(hangs_until=let_go) if asked.path == "/hangs" else Said()
        slow = asyncio.create_task(channel.send(letter(to="hangs")))
        assert (await channel.send(letter(to="beside"))).outcome is TryOutcome.ACCEPTED
        assert (await slow).outcome is TryOutcome.UNKNOWN
        assert (await channel.send(letter(to="after"))).outcome is TryOutcome.ACCEPTED
        assert processes(channel) != [hanging]
        with pytest.raises(ProcessLookupError):
            os.kill(hanging, 0)
    let_go.set()


async def test_a_process_that_dies_is_replaced(sink: HttpSink) -> None:
    async with opened(f"json://127.0.0.1:{sink.port}/") as channel:
        await channel.send(letter())
        (pid,) = processes(channel)
        let_go = threading.Event()
        sink.answer = lambda _: Said(hangs_until=let_go)
        asked = len(sink.asked)
        under_way = asyncio.create_task(channel.send(letter()))
        await asyncio.to_thread(sink.wait_for, lambda: len(sink.asked) > asked)
        os.kill(pid, signal.SIGKILL)
        assert (await under_way).outcome is TryOutcome.UNKNOWN
        let_go.set()
        sink.answer = lambda _: Said()
        assert (await channel.send(letter())).outcome is TryOutcome.ACCEPTED


async def test_a_closed_channel_leaves_no_process(sink: HttpSink) -> None:
    async with opened(f"json://127.0.0.1:{sink.port}/") as channel:
        await channel.send(letter())
        (pid,) = processes(channel)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def processes(channel: AppriseChannel) -> list[int]:
    """The process that takes messages now, if there is one."""
    return [channel.pid] if channel.pid else []
