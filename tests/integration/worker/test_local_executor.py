"""The local executor with real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pymigrate.engine.adapters.executors import processes
from pymigrate.engine.adapters.executors.local import LocalExecutor
from pymigrate.engine.adapters.executors.logs import LOG_BYTES_MAX
from pymigrate.engine.entrypoints.engine_access import HOST_TOKEN_VARIABLE
from pymigrate.engine.ports.executor import Executor
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.settings import Settings
from tests.integration.worker.engine import EngineDouble


@pytest.fixture
async def executor(home: Path) -> AsyncIterator[LocalExecutor]:
    local = LocalExecutor(home, drain_seconds=4.0)
    yield local
    await local.close([])


async def registered(engine: EngineDouble, times: int = 1) -> HostRecord:
    """The host that registered last."""
    await asyncio.to_thread(engine.wait, lambda: len(engine.registered) >= times)
    host = engine.registered[-1].host
    return record(host.pid, host.pid_start_ticks)


def record(pid: int, ticks: int | None, workload: str = "") -> HostRecord:
    """A host with that process."""
    assert ticks is not None
    return HostRecord("workerHosts/h1", "shared", pid, ticks, "s", datetime.fromtimestamp(0, UTC), workload)


async def test_a_host_is_started_once_and_told_its_name_and_affinity(
    engine: EngineDouble, executor: LocalExecutor, home: Path
) -> None:
    port: Executor = executor
    assert port.has_exited("h1")
    await port.ensure("h1", "file:/a b")
    await port.ensure("h1", "file:/a b")
    host = await registered(engine)
    assert [(one.host.name, one.host.affinity) for one in engine.registered] == [("workerHosts/h1", "file:/a b")]
    assert port.is_running(host)
    assert not port.has_exited("h1")
    assert os.getsid(host.pid) == host.pid
    await port.stop("h1")
    assert port.has_exited("h1")
    assert not port.is_running(host)
    log = home / "logs" / "h1.log"
    assert "host.ended" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


async def test_a_killed_host_is_gone_and_started_again(engine: EngineDouble, executor: LocalExecutor) -> None:
    await executor.ensure("h1", "shared")
    host = await registered(engine)
    assert await executor.kill(host)
    assert await executor.kill(host)
    await executor.stop("h1")
    await executor.ensure("h1", "shared")
    again = await registered(engine, 2)
    assert again.pid != host.pid


async def test_a_process_with_the_id_and_another_start_is_left_alone(executor: LocalExecutor) -> None:
    own = record(os.getpid(), processes.start_ticks(os.getpid()))
    assert await executor.kill(replace(own, pid_start_ticks=own.pid_start_ticks + 1))
    assert executor.is_running(own)


async def test_what_another_executor_runs_is_left_to_its_lease(executor: LocalExecutor) -> None:
    elsewhere = record(os.getpid(), processes.start_ticks(os.getpid()), "jobs/prod/shared-1/u/p")
    await executor.drain(elsewhere)
    assert await executor.kill(elsewhere)
    assert executor.is_running(elsewhere)


async def test_a_stopped_process_is_killed_too(executor: LocalExecutor) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    host = record(process.pid, processes.start_ticks(process.pid))
    process.send_signal(signal.SIGSTOP)
    assert await executor.kill(host)
    assert await process.wait() == -signal.SIGKILL


async def test_a_host_that_does_not_end_in_time_is_ended(engine: EngineDouble, home: Path) -> None:
    impatient = LocalExecutor(home, drain_seconds=0.2)
    await impatient.ensure("h1", "shared")
    host = await registered(engine)
    os.kill(host.pid, signal.SIGSTOP)
    await impatient.close([host])
    assert impatient.has_exited("h1")
    assert not impatient.is_running(host)


async def test_stopping_what_is_not_there_is_no_error(executor: LocalExecutor) -> None:
    await executor.stop("nobody")
    assert executor.has_exited("nobody")


async def test_a_long_log_is_put_aside_and_a_few_are_kept(
    engine: EngineDouble, executor: LocalExecutor, home: Path
) -> None:
    folder = home / "logs"
    folder.mkdir()
    (folder / "h1.log").write_bytes(b"0" * (LOG_BYTES_MAX + 1))
    for number in (1, 2, 3):
        (folder / f"h1.log.{number}").write_text(str(number))
    await executor.ensure("h1", "shared")
    await registered(engine)
    assert [(folder / f"h1.log.{number}").stat().st_size for number in (1, 2, 3)] == [LOG_BYTES_MAX + 1, 1, 1]
    assert (folder / "h1.log.3").read_text() == "2"
    assert (folder / "h1.log").stat().st_size < LOG_BYTES_MAX


async def test_a_host_has_a_token_of_its_own_and_none_of_what_lets_the_engine_in(
    engine: EngineDouble, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYMIGRATE_TOKEN", "STORE_PASSWORD", "PYMIGRATE_STORE", "SOURCE_PASSWORD"):
        monkeypatch.setenv(name, "a-secret")
    settings = Settings(home=home, store="postgresql://db/x", store_password="env://STORE_PASSWORD")

    def own(host: str, affinity: str) -> dict[str, str]:
        return {HOST_TOKEN_VARIABLE: f"pmh_{host}_{affinity}"}

    engine.host_tokens = {"Bearer pmh_h1_shared@e"}
    local = LocalExecutor(home, 4.0, settings.client_environment, own, settings.withheld_variables)
    await local.ensure("h1", "shared@e")
    process = Path("/proc") / str((await registered(engine)).pid)
    given, line = (process / "environ").read_text(), (process / "cmdline").read_text()
    await local.close([])
    held = dict(each.split("=", 1) for each in given.split("\0") if "=" in each)
    assert held[HOST_TOKEN_VARIABLE] == "pmh_h1_shared@e"
    assert (held["SOURCE_PASSWORD"], held["PYMIGRATE_TOKEN_FILE"]) == ("a-secret", "")
    assert not {"PYMIGRATE_TOKEN", "STORE_PASSWORD", "PYMIGRATE_STORE", "PYMIGRATE_STORE_PASSWORD"} & held.keys()
    assert "pmh_" not in line + (home / "logs" / "h1.log").read_text()
    assert engine.shown == {"Bearer pmh_h1_shared@e"}
