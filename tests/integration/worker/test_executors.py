"""What every executor does, whatever it runs hosts by: one process a host, found again, and ended for certain."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.worker.engine import EngineDouble
from tests.integration.worker.hosting import Hosting, jobs, jobs_in_memory, processes, until

AFFINITY = "file:/a b@prod"


@pytest.fixture(params=["processes", "jobs in memory", "jobs"])
async def hosting(
    request: pytest.FixtureRequest, home: Path, engine: EngineDouble, tmp_path: Path
) -> AsyncIterator[Hosting]:
    match request.param:
        case "processes":
            made = processes(home, engine)
        case "jobs in memory":
            made = jobs_in_memory()
        case _:
            made = jobs(request.getfixturevalue("api_server"), home, engine, tmp_path)
    async with made as found:
        yield found


async def test_a_host_that_was_asked_for_comes_once_and_says_what_runs_it(hosting: Hosting) -> None:
    executor = hosting.executor
    assert executor.has_exited("h1")
    await hosting.start("h1", AFFINITY)
    await executor.ensure("h1", AFFINITY)
    host = await hosting.host()
    await executor.ensure("h1", AFFINITY)
    assert executor.is_running(host)
    assert not executor.has_exited("h1")
    assert len(hosting.come()) == 1
    assert executor.troubles() == {}


async def test_a_killed_host_is_gone_and_killing_it_again_changes_nothing(hosting: Hosting) -> None:
    executor = hosting.executor
    await hosting.start("h1", AFFINITY)
    host = await hosting.host()
    assert await executor.kill(host)
    assert await executor.kill(host)
    await until(lambda: not executor.is_running(host) and executor.has_exited("h1"))


async def test_a_host_that_is_gone_comes_again_as_another(hosting: Hosting) -> None:
    executor = hosting.executor
    await hosting.start("h1", AFFINITY)
    first = await hosting.host()
    await executor.kill(first)
    await until(lambda: executor.has_exited("h1"))
    await hosting.start("h1", AFFINITY)
    second = await hosting.host(2)
    assert (first.pid, first.workload) != (second.pid, second.workload)
    assert executor.is_running(second)
    assert not executor.is_running(first)


async def test_a_drained_host_is_gone(hosting: Hosting) -> None:
    executor = hosting.executor
    await hosting.start("h1", AFFINITY)
    host = await hosting.host()
    await executor.drain(host)
    await until(lambda: not executor.is_running(host) and executor.has_exited("h1"))


async def test_one_host_is_ended_and_the_others_go_on(hosting: Hosting) -> None:
    executor = hosting.executor
    await hosting.start("h1", AFFINITY)
    await hosting.start("h2", "shared@prod")
    await hosting.host(2)
    one, other = hosting.come()
    assert await executor.kill(one)
    assert executor.is_running(other)


async def test_what_has_the_place_of_a_host_and_is_not_it_is_left_alone(hosting: Hosting) -> None:
    executor = hosting.executor
    await hosting.start("h1", AFFINITY)
    host = await hosting.host()
    parts = host.workload.split("/")
    parts[-2:-1] = ["0f9c2f4e-8c63-4a55-9a3f-0e0a6f1f8f11"]
    earlier = replace(host, workload="/".join(parts)) if host.workload else replace(host, pid_start_ticks=1)
    assert await executor.kill(earlier)
    await executor.drain(earlier)
    assert executor.is_running(host)


async def test_stopping_a_host_ends_it_and_stopping_nobody_is_no_error(hosting: Hosting) -> None:
    executor = hosting.executor
    await executor.stop("nobody")
    await hosting.start("h1", AFFINITY)
    host = await hosting.host()
    await executor.stop("h1")
    await until(lambda: not executor.is_running(host) and executor.has_exited("h1"))
