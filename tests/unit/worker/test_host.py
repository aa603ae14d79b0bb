"""A host's threads against an engine in memory: what is asked of it, and what becomes of its tasks."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pymigrate.engine.domain.rates import FREE, Rate
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.worker.engine import NotRegistered
from pymigrate.engine.entrypoints.worker.host import EXIT_DRAINED, EXIT_NO_ENGINE, Host
from pymigrate.engine.entrypoints.worker.leases import Leases
from pymigrate.engine.entrypoints.worker.session import GaveUp, Session
from pymigrate.engine.transfer.signals import LeaseLost, Signals
from pymigrate.v1 import run_pb2, worker_pb2
from tests.unit.worker.link import MemoryEngine, away, refused

Work = Callable[[worker_pb2.Task, Signals, Callable[[worker_pb2.LaneProgress], None]], worker_pb2.FinishTaskRequest]
DONE = worker_pb2.FinishTaskRequest(result=worker_pb2.TaskResult())
DRAINED = worker_pb2.FinishTaskRequest(drained=worker_pb2.LaneProgress(chunks=2))


def done(*_: object) -> worker_pb2.FinishTaskRequest:
    """A task that has nothing to do."""
    return DONE


class Scripted:
    """A runner whose tasks do what the test says."""

    def __init__(self) -> None:
        self.work: dict[str, Work] = {}

    def run(
        self, task: worker_pb2.Task, signals: Signals, on_progress: Callable[[worker_pb2.LaneProgress], None]
    ) -> worker_pb2.FinishTaskRequest:
        return self.work.get(task.id, done)(task, signals, on_progress)

    def failure_of(self, error: Exception, task: worker_pb2.Task) -> run_pb2.Failure:
        return run_pb2.Failure(reason="INTERNAL", message=f"{type(error).__name__}: {error}")


class Running:
    """A host that runs on a thread of the test."""

    def __init__(
        self, home: Path, drain_seconds: float = 30.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.engine, self.runner = MemoryEngine(), Scripted()
        self.leases, self.ending = Leases(), threading.Event()
        message = worker_pb2.WorkerHost(name="workerHosts/h1", pid=1, affinity="shared")
        self.session = Session(
            EngineAccess(home),
            message,
            self.leases,
            self.ending,
            monotonic,
            random.Random(1),
            find=self.engine.find,  # type: ignore[arg-type]
        )
        self.loads = 0
        self.memory: list[int] = []
        self.host = Host(self.session, self.leases, self.ending, self.load, drain_seconds, on_memory=self.memory.append)
        self.code: int | None = None
        self.thread = threading.Thread(target=self._run)

    def load(self) -> Scripted:
        self.loads += 1
        return self.runner

    def start(self) -> "Running":
        self.thread.start()
        return self

    def end(self) -> int | None:
        """Asks it to end and waits for it."""
        self.ending.set()
        return self.ended()

    def ended(self) -> int | None:
        """Waits for its end."""
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.code

    def outcome(self, task_id: str, fence: int = 1) -> worker_pb2.FinishTaskRequest:
        """Gives it a task and waits for the end of it."""
        self.engine.give(a_task(task_id, fence))
        self.engine.wait(lambda: any(done.lease.task_id == task_id for done in self.engine.finished))
        return next(done for done in self.engine.finished if done.lease.task_id == task_id)

    def _run(self) -> None:
        self.code = self.host.run()


def a_task(task_id: str, fence: int = 1, lease_seconds: float = 30.0) -> worker_pb2.Task:
    return worker_pb2.Task(id=task_id, fence=fence, lease_seconds=lease_seconds, test=worker_pb2.TestWork())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    if running.thread.is_alive():
        running.end()


def until_asked(_: worker_pb2.Task, signals: Signals, __: object) -> worker_pb2.FinishTaskRequest:
    """Works until it is asked to stop."""
    while not signals.is_lost():
        if signals.is_draining():
            return DRAINED
        signals.wait(1.0)
    raise LeaseLost("lost")


def test_a_task_is_run_and_its_outcome_told_under_its_fence(running: Running) -> None:
    running.start()
    done = running.outcome("t1", fence=7)
    assert (done.host, done.lease.fence, done.WhichOneof("outcome")) == ("workerHosts/h1", 7, "result")
    assert running.end() == EXIT_DRAINED
    assert not running.host.has_tasks()


def test_the_data_plane_is_loaded_once_and_with_the_first_task(running: Running) -> None:
    running.start()
    running.engine.wait(lambda: running.engine.calls.count("claim") > 1)
    assert running.loads == 0
    running.outcome("t1")
    running.outcome("t2")
    running.host.preload()
    assert running.loads == 1


def test_whatever_a_task_raises_ends_that_task_alone(running: Running) -> None:
    def crash(*_: object) -> worker_pb2.FinishTaskRequest:
        raise ZeroDivisionError("by zero")

    running.runner.work["t1"] = crash
    running.start()
    failure = running.outcome("t1").failure
    assert (failure.reason, failure.message) == ("INTERNAL", "ZeroDivisionError: by zero")
    assert running.outcome("t2").WhichOneof("outcome") == "result"


def test_a_host_that_can_not_load_the_data_plane_ends(tmp_path: Path) -> None:
    def load() -> Scripted:
        raise ModuleNotFoundError("No module named 'pyarrow'")

    running = Running(tmp_path)
    running.host = Host(running.session, running.leases, running.ending, load, drain_seconds=1.0)
    running.start()
    running.engine.give(a_task("t1"))
    assert running.ended() == EXIT_NO_ENGINE
    assert not running.host.has_tasks()


def test_no_more_tasks_are_claimed_than_may_run_at_once(running: Running) -> None:
    running.engine.terms.tasks_max = 1
    running.runner.work["t1"] = until_asked
    running.start()
    running.engine.give(a_task("t1"))
    running.engine.give(a_task("t2"))
    running.engine.wait(lambda: len(running.engine.tasks) == 1)
    beats = running.engine.calls.count("heartbeat")
    running.engine.wait(lambda: running.engine.calls.count("heartbeat") > beats + 10)
    assert len(running.engine.tasks) == 1
    running.engine.answer = worker_pb2.HeartbeatResponse(drain_task_ids=["t1"])
    running.engine.wait(lambda: len(running.engine.finished) == 2)
    assert [done.WhichOneof("outcome") for done in running.engine.finished] == ["drained", "result"]


def test_a_task_that_the_engine_calls_lost_stops_without_an_outcome(running: Running) -> None:
    running.runner.work["t1"] = until_asked
    running.start()
    running.engine.give(a_task("t1"))
    running.engine.wait(lambda: bool(running.leases.all()))
    running.engine.answer = worker_pb2.HeartbeatResponse(lost_task_ids=["t1"])
    running.engine.wait(lambda: len(running.engine.registered) == 2)
    assert not running.engine.registered[1].leases
    assert running.end() == EXIT_DRAINED
    assert running.engine.finished == []


def test_a_lease_that_runs_out_unnoticed_is_told_by_joining_again(running: Running) -> None:
    running.engine.terms.heartbeat_seconds = 30.0
    running.runner.work["t1"] = until_asked
    running.start()
    running.engine.fail("heartbeat", *[away()] * 3)
    running.engine.give(a_task("t1", lease_seconds=0.0))
    running.engine.wait(lambda: len(running.engine.registered) >= 2 and not running.leases.all())
    assert not running.engine.registered[-1].leases
    assert running.engine.finished == []


def test_a_heartbeat_follows_a_task_at_once_but_for_looks_which_come_by_the_hundred(running: Running) -> None:
    running.engine.terms.heartbeat_seconds = 30.0
    running.start()
    looks = [f"look{number}" for number in range(20)]
    for look in looks:
        running.engine.give(worker_pb2.Task(id=look, fence=1, lease_seconds=30.0, inspect=worker_pb2.InspectWork()))
    running.engine.wait(lambda: len(running.engine.finished) == len(looks))
    assert running.engine.calls.count("heartbeat") == 0
    running.engine.give(a_task("t1"))
    running.engine.wait(lambda: running.engine.calls.count("heartbeat") == 1)


def test_progress_is_coalesced_and_its_last_word_always_told(running: Running) -> None:
    def count(task: worker_pb2.Task, _: object, tell: Callable[[worker_pb2.LaneProgress], None]) -> object:
        for chunks in range(1, 1001):
            tell(worker_pb2.LaneProgress(chunks=chunks))
        return worker_pb2.FinishTaskRequest(failure=run_pb2.Failure(reason="X"))

    running.runner.work["t1"] = count  # type: ignore[assignment]
    running.start()
    running.outcome("t1")
    chunks = [report.progress.chunks for report in running.engine.reports]
    assert chunks == sorted(chunks)
    assert chunks[-1] == 1000
    assert len(chunks) < 10


def test_a_report_that_is_lost_or_refused_stops_nothing(running: Running) -> None:
    def tell(task: worker_pb2.Task, _: object, on_progress: Callable[[worker_pb2.LaneProgress], None]) -> object:
        on_progress(worker_pb2.LaneProgress(chunks=1))
        return DONE

    running.runner.work["t1"] = running.runner.work["t2"] = tell  # type: ignore[assignment]
    running.engine.fail("report", away(), refused())
    running.start()
    assert running.outcome("t1").WhichOneof("outcome") == "result"
    assert running.outcome("t2").WhichOneof("outcome") == "result"


def test_an_outcome_is_told_again_until_the_engine_has_heard_it(running: Running) -> None:
    running.engine.fail("finish", away(), away())
    running.start()
    running.outcome("t1")
    assert running.engine.calls.count("finish") == 3
    assert [lease.task_id for lease in running.engine.registered[-1].leases] == ["t1"]


def test_an_outcome_that_the_engine_refuses_is_dropped_and_the_host_joins_again(running: Running) -> None:
    running.engine.fail("finish", refused())
    running.start()
    running.engine.give(a_task("t1"))
    running.engine.wait(lambda: len(running.engine.registered) == 2)
    running.outcome("t2")
    assert [done.lease.task_id for done in running.engine.finished] == ["t2"]
    assert not running.engine.registered[1].leases


def test_a_host_joins_again_with_what_it_has_under_way_and_drops_what_it_lost_meanwhile(running: Running) -> None:
    running.runner.work["t1"] = running.runner.work["t2"] = until_asked
    running.start()
    running.engine.give(a_task("t1", fence=4))
    running.engine.give(a_task("t2", fence=5))
    running.engine.wait(lambda: len(running.leases.all()) == 2)
    running.engine.lost_at_registration = ["t1"]
    running.engine.fail("heartbeat", away())
    running.engine.wait(lambda: len(running.leases.all()) == 1)
    assert [(lease.task_id, lease.fence) for lease in running.engine.registered[1].leases] == [("t1", 4), ("t2", 5)]
    [left] = running.leases.held()
    assert left.message.task_id == "t2"
    assert running.end() == EXIT_DRAINED
    assert [(done.lease.task_id, done.drained.chunks) for done in running.engine.finished] == [("t2", 2)]


def test_an_answer_to_a_claim_that_was_lost_makes_the_host_say_what_it_really_has(running: Running) -> None:
    running.engine.fail("claim", away())
    running.start()
    running.engine.wait(lambda: len(running.engine.registered) == 2)
    assert not running.engine.registered[1].leases


@pytest.mark.parametrize("call", ["claim", "heartbeat"])
def test_a_host_whose_name_another_process_has_taken_stops_without_committing(running: Running, call: str) -> None:
    running.runner.work["t1"] = until_asked
    running.start()
    running.engine.give(a_task("t1"))
    running.engine.wait(lambda: bool(running.leases.all()))
    running.engine.fail(call, refused())
    assert running.ended() == EXIT_NO_ENGINE
    assert running.engine.finished == []
    assert len(running.engine.registered) == 1


def test_a_host_does_not_take_its_name_back_from_another_process(running: Running) -> None:
    running.engine.terms.heartbeat_seconds = 30.0
    running.start()
    running.engine.wait(lambda: "claim" in running.engine.calls)
    running.engine.fail("heartbeat", refused())
    running.engine.fail("claim", away())
    assert running.ended() == EXIT_NO_ENGINE
    assert len(running.engine.registered) == 1


def test_a_host_that_the_engine_does_not_know_registers_again(running: Running) -> None:
    running.engine.terms.heartbeat_seconds = 30.0
    running.start()
    running.engine.fail("heartbeat", NotRegistered("NOT_FOUND: register"))
    running.engine.fail("claim", NotRegistered("NOT_FOUND: register"))
    running.engine.wait(lambda: len(running.engine.registered) == 2)
    assert running.end() == EXIT_DRAINED


def test_a_host_that_finds_no_engine_in_time_ends(tmp_path: Path) -> None:
    seconds = itertools.count(0, 20)
    running = Running(tmp_path, monotonic=lambda: float(next(seconds)))
    running.engine.fail("find", *[away()] * 100)
    assert running.host.run() == EXIT_NO_ENGINE
    assert 1 < running.engine.calls.count("find") < 5


def test_a_host_that_the_engine_refuses_ends_at_once(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.engine.fail("register", refused())
    assert running.host.run() == EXIT_NO_ENGINE
    assert running.engine.calls == ["find", "register"]


def test_a_host_whose_home_is_gone_ends_at_once(running: Running, tmp_path: Path) -> None:
    running.runner.work["t1"] = until_asked
    running.start()
    running.engine.give(a_task("t1"))
    running.engine.wait(lambda: bool(running.leases.all()))
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    running.engine.fail("heartbeat", away())
    assert running.ended() == EXIT_NO_ENGINE


def test_a_task_that_does_not_drain_in_time_loses_its_lease_and_the_host_ends(tmp_path: Path) -> None:
    running, stubborn = Running(tmp_path, drain_seconds=0.1), threading.Event()

    def hang(_: object, signals: Signals, __: object) -> worker_pb2.FinishTaskRequest:
        assert stubborn.wait(60)
        assert signals.is_lost()
        return DONE

    running.runner.work["t1"] = hang
    running.start()
    running.engine.give(a_task("t1"))
    running.engine.wait(lambda: bool(running.leases.all()))
    assert running.end() == EXIT_DRAINED
    assert running.host.has_tasks()
    stubborn.set()
    running.leases.wait_below(1, 60)
    assert running.engine.finished == []


def test_a_host_that_is_to_end_does_not_wait_for_an_engine_that_is_gone(running: Running) -> None:
    running.start()
    running.engine.fail("heartbeat", away())
    running.engine.fail("find", *[away()] * 1000)
    running.engine.wait(lambda: running.engine.calls.count("find") > 1)
    assert running.end() == EXIT_DRAINED


def test_a_broken_thread_ends_the_host_rather_than_leaving_half_of_it(running: Running) -> None:
    running.start()
    running.engine.fail("claim", ZeroDivisionError("a defect"))
    assert running.ended() == EXIT_NO_ENGINE


def test_a_session_that_was_never_joined_has_no_link(tmp_path: Path) -> None:
    with pytest.raises(GaveUp, match="never registered"):
        Running(tmp_path).session.present()


def test_the_host_is_told_how_much_memory_it_has_when_it_registers_and_with_every_heartbeat(running: Running) -> None:
    running.engine.terms.memory_bytes_max = 700
    running.engine.answer.memory_bytes_max = 500
    running.start()
    running.engine.wait(lambda: running.engine.calls.count("heartbeat") > 1)
    running.end()
    assert running.memory[0] == 700
    assert set(running.memory[1:]) == {500}


def test_a_lane_goes_as_fast_as_its_task_says_and_then_as_the_heartbeat_does(running: Running) -> None:
    rates: list[Rate] = []

    def until_free(task: worker_pb2.Task, signals: Signals, on_progress: object) -> worker_pb2.FinishTaskRequest:
        del task, on_progress
        while (rate := signals.rate()) != FREE:
            if rate not in rates:
                rates.append(rate)
                running.engine.answer = next(answers)
            signals.wait(0.01)
        return DRAINED

    answers = iter(
        [
            worker_pb2.HeartbeatResponse(rates=[worker_pb2.LaneRate(task_id="t1", rows_per_second_max=5)]),
            worker_pb2.HeartbeatResponse(rates=[worker_pb2.LaneRate(task_id="another", rows_per_second_max=5)]),
        ]
    )
    first = worker_pb2.LaneRate(task_id="t1", bytes_per_second_max=9)
    running.engine.answer = worker_pb2.HeartbeatResponse(rates=[first])
    running.runner.work["t1"] = until_free
    running.start()
    task = a_task("t1")
    task.rate.CopyFrom(first)
    running.engine.give(task)
    running.engine.wait(lambda: bool(running.engine.finished))
    assert rates == [Rate(9.0, 0.0), Rate(0.0, 5.0)]


def test_what_a_heartbeat_brings_is_shown_from_then_on(running: Running) -> None:
    running.runner.work["t1"] = until_asked
    running.engine.answer.credentials["t1"] = "fresh"
    running.engine.answer.token = "pmh_fresh"
    running.start()
    running.engine.give(a_task("t1"))
    running.engine.wait(lambda: len(running.engine.shown) > 1 and running.engine.calls.count("heartbeat") > 3)
    running.engine.answer.drain_task_ids.append("t1")
    running.engine.wait(lambda: bool(running.engine.finished))
    assert set(running.engine.shown) == {"pmh_fresh"}
    assert running.engine.finished[0].lease.credential == "fresh"
