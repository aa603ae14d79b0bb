"""A real dispatcher process against the engine's side of dispatch, a real mail server and a real HTTP sink."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from pymigrate.engine.domain.delivery import DeliveryState, TryOutcome
from tests.integration.dispatcher.conftest import StartDispatcher
from tests.integration.dispatcher.served import ServedDispatch, hook
from tests.mail import MailServer
from tests.sinks import HttpSink, Posted, Said

ENDED = ("accepted", "delivered", "dead")
STOP_SECONDS = 60


def keys(sink: HttpSink) -> Counter[str]:
    """How often each key was taken."""
    return Counter(posted.headers["idempotency-key"] for posted in sink.taken)


def wait_logged(log: Path, text: str) -> None:
    """Until a process has logged that."""
    pause = threading.Event()
    for _ in range(STOP_SECONDS * 50):
        if text in log.read_text():
            return
        pause.wait(0.02)
    raise AssertionError(f"{log.name} never said {text}")


def test_what_is_due_is_sent_by_mail_and_by_http_and_confirmed(
    engine: ServedDispatch, start_dispatcher: StartDispatcher, sink: HttpSink, mail_server: MailServer
) -> None:
    mail = {
        "smtp": {
            "host": "127.0.0.1",
            "port": mail_server.port,
            "security": "SMTP_SECURITY_NONE",
            "sender": "pm@example.com",
        }
    }
    engine.declare(hook=hook(sink.url), mail=mail)
    start_dispatcher()
    engine.make("hook", "", 30)
    engine.make("mail", "ann@example.com", 30, start=101)
    found = engine.wait([*range(1, 31), *range(101, 131)], *ENDED)
    assert {each.state for each in found} == {DeliveryState.ACCEPTED}
    assert {len(each.tries) for each in found} == {1}
    assert keys(sink) == {each.key: 1 for each in found if each.channel == "hook"}
    assert Counter(taken.key for taken in mail_server.taken) == {
        each.key: 1 for each in found if each.channel == "mail"
    }


def test_what_a_receiver_fails_with_is_tried_again_and_what_it_refuses_is_dead(
    engine: ServedDispatch, start_dispatcher: StartDispatcher, sink: HttpSink
) -> None:
    failed: set[str] = set()

    def answer(posted: Posted) -> Said:
        key = posted.headers["idempotency-key"]
        if key in failed:
            return Said()
        failed.add(key)
        return Said(503)

    sink.answer = answer
    gone = HttpSink()
    gone.answer = lambda _: Said(410)
    engine.declare(hook=hook(sink.url), gone=hook(gone.url))
    start_dispatcher()
    engine.make("hook", "", 5)
    engine.make("gone", "", 1, start=101)
    assert {each.state for each in engine.wait(range(1, 6), *ENDED)} == {DeliveryState.ACCEPTED}
    (dead,) = engine.wait([101], *ENDED)
    assert (dead.state, [each.outcome for each in dead.tries]) == (DeliveryState.DEAD, [TryOutcome.PERMANENT])
    assert "410" in dead.tries[0].answer
    gone.close()


def test_an_address_that_nobody_allowed_is_not_reached(
    engine: ServedDispatch, start_dispatcher: StartDispatcher
) -> None:
    engine.declare(hook=hook("http://169.254.169.254/latest/meta-data"))
    start_dispatcher()
    engine.make("hook", "", 1)
    (dead,) = engine.wait([1], *ENDED)
    assert (dead.state, dead.tries[0].outcome) == (DeliveryState.DEAD, TryOutcome.PERMANENT)


def test_two_dispatchers_share_what_there_is_and_send_nothing_twice(
    engine: ServedDispatch, start_dispatcher: StartDispatcher, sink: HttpSink
) -> None:
    engine.declare(hook=hook(sink.url, deliveriesMax=10))
    for name in ("d1", "d2"):
        start_dispatcher(name, parent=os.getpid())
    engine.make("hook", "", 300)
    found = engine.wait(range(1, 301), *ENDED)
    assert {each.state for each in found} == {DeliveryState.ACCEPTED}
    assert set(keys(sink).values()) == {1}
    assert len(keys(sink)) == 300


def test_at_sigterm_it_finishes_what_is_under_way_and_gives_back_the_rest(
    engine: ServedDispatch, start_dispatcher: StartDispatcher, sink: HttpSink, tmp_path: Path
) -> None:
    hanging = threading.Event()
    sink.answer = lambda _: Said(hangs_until=hanging)
    engine.declare(hook=hook(sink.url, deliveriesMax=2))
    process = start_dispatcher()
    engine.make("hook", "", 6)
    sink.wait_for(lambda: len(sink.asked) == 2)
    process.send_signal(signal.SIGTERM)
    wait_logged(tmp_path / "d1.log", "dispatcher.draining")
    engine.wait(range(1, 7), "sending", "pending")
    hanging.set()
    assert process.wait(STOP_SECONDS) == 0
    states = Counter(str(each.state) for each in engine.get(range(1, 7)))
    assert states == {"accepted": 2, "pending": 4}
    assert len(sink.asked) == 2
    assert all(not each.may_be_repeated for each in engine.get(range(1, 7)))


def test_what_was_under_way_when_it_was_killed_comes_again_with_the_same_key(
    engine: ServedDispatch, start_dispatcher: StartDispatcher, sink: HttpSink
) -> None:
    hanging = threading.Event()
    sink.answer = lambda _: Said(hangs_until=hanging)
    engine.declare(hook=hook(sink.url, deliveriesMax=2))
    process = start_dispatcher("d1", parent=os.getpid())
    engine.make("hook", "", 6)
    sink.wait_for(lambda: len(sink.asked) == 2)
    process.kill()
    process.wait()
    hanging.set()
    assert engine.do(engine.deliveries.lost("d1"))
    start_dispatcher("d2", parent=os.getpid())
    found = engine.wait(range(1, 7), *ENDED)
    assert {each.state for each in found} == {DeliveryState.ACCEPTED}
    assert all(each.may_be_repeated for each in found)
    twice = {key for key, times in keys(sink).items() if times == 2}
    assert twice == {posted.headers["idempotency-key"] for posted in sink.asked[:2]}


def test_it_goes_on_when_its_engine_comes_back_on_another_port(
    engine: ServedDispatch, start_dispatcher: StartDispatcher, sink: HttpSink
) -> None:
    hanging = threading.Event()
    sink.answer = lambda _: Said(hangs_until=hanging)
    engine.declare(hook=hook(sink.url))
    start_dispatcher()
    engine.make("hook", "", 3)
    sink.wait_for(lambda: len(sink.asked) == 3)
    engine.stop()
    hanging.set()
    sink.wait_for(lambda: len(sink.taken) == 3)
    engine.start()
    engine.make("hook", "", 3, start=101)
    found = engine.wait([1, 2, 3, 101, 102, 103], *ENDED)
    assert {(each.state, len(each.tries)) for each in found} == {(DeliveryState.ACCEPTED, 1)}
    assert set(keys(sink).values()) == {1}


def test_one_whose_engine_was_killed_ends_by_itself(
    engine: ServedDispatch, start_dispatcher: StartDispatcher, tmp_path: Path
) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "pass"])
    parent.wait()
    process = start_dispatcher("d1", parent=parent.pid)
    assert process.wait(STOP_SECONDS) == 0
    assert "dispatcher.orphaned" in (tmp_path / "d1.log").read_text()


def test_one_that_was_started_where_no_engine_ever_served_says_so(
    tmp_path: Path, start_dispatcher: StartDispatcher
) -> None:
    (tmp_path / "home").mkdir()
    process = start_dispatcher()
    assert process.wait(STOP_SECONDS) == 1
    assert "no engine has served from" in (tmp_path / "d1.log").read_text()
