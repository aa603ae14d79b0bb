"""A host's hold on its tasks, by its own clock."""

import threading

from pymigrate.engine.entrypoints.worker.leases import Lease, Leases
from pymigrate.v1 import worker_pb2


class Seconds:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_lease(clock: Seconds, task_id: str = "t1", since: float = 100.0) -> Lease:
    return Lease(worker_pb2.Task(id=task_id, fence=3, lease_seconds=10), since, clock)


def test_a_lease_runs_out_unless_it_is_renewed() -> None:
    clock = Seconds()
    lease = a_lease(clock)
    clock.now = 109.9
    assert not lease.is_lost()
    lease.renew(109.0)
    clock.now = 118.9
    assert not lease.is_lost()
    clock.now = 119.0
    assert lease.is_lost()


def test_a_lease_that_ran_out_is_not_revived() -> None:
    clock = Seconds()
    lease = a_lease(clock)
    clock.now = 111.0
    lease.renew(110.9)
    assert lease.is_lost()
    clock.now = 111.5
    assert lease.is_lost()


def test_a_late_answer_to_an_early_call_does_not_shorten_a_lease() -> None:
    clock = Seconds()
    lease = a_lease(clock)
    lease.renew(108.0)
    lease.renew(104.0)
    clock.now = 117.0
    assert not lease.is_lost()


def test_what_is_asked_wakes_whoever_waits_and_stays() -> None:
    lease = a_lease(Seconds())
    waiting = threading.Thread(target=lease.wait, args=(60.0,))
    waiting.start()
    assert not lease.is_draining()
    lease.drain()
    waiting.join(60)
    assert not waiting.is_alive()
    assert (lease.is_draining(), lease.is_lost()) == (True, False)
    lease.lose()
    assert lease.is_lost()


def test_a_host_knows_what_it_has_and_what_is_still_its_own() -> None:
    clock = Seconds()
    leases, one, two = Leases(), a_lease(clock, "t1"), a_lease(clock, "t2", since=95.0)
    leases.add(one)
    leases.add(two)
    assert not leases.wait_below(2, 0.0)
    clock.now = 106.0
    assert leases.all() == [one, two]
    assert leases.held() == [one]
    leases.remove(two)
    assert leases.wait_below(2, 0.0)
    leases.remove(two)
    assert leases.all() == [one]


def test_a_thread_that_ends_late_does_not_take_its_heirs_lease_along() -> None:
    leases, former, heir = Leases(), a_lease(Seconds()), a_lease(Seconds())
    leases.add(former)
    leases.add(heir)
    leases.remove(former)
    assert leases.all() == [heir]


def test_a_lease_shows_the_credential_that_came_with_the_task_until_a_heartbeat_brings_another() -> None:
    task = worker_pb2.Task(id="t", fence=3, lease_seconds=10.0, credential="first")
    lease = Lease(task, 100.0, lambda: 101.0)
    assert lease.message == worker_pb2.TaskLease(task_id="t", fence=3, credential="first")
    lease.renew(101.0, "second")
    lease.renew(101.0)
    assert lease.message == worker_pb2.TaskLease(task_id="t", fence=3, credential="second")
