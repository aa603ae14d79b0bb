"""A run and its rollback, again and again, with somebody to kill at a commit: what the tests of crashes at every commit share.

`PYMIGRATE_TEST_CRASH_STORES` names the stores that the engine is killed on (`sqlite`, the default, `postgres` or both with a comma).
`PYMIGRATE_TEST_CRASH_SIDES` names the sides of the commits: `alternating`, the default, takes one after the other, so that every state of
the store is one that an engine died in, once told to others and once not; `before,after` takes each commit from both sides.
`PYMIGRATE_TEST_CRASH_DURING_RECOVERY` is how many commits of each recovery the next engine is killed at too (default 0).
"""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import psycopg
import pytest
from grpc_status import rpc_status
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e import crashing
from tests.e2e.engines import EngineProcess, declare, ended, is_alive, wait_until
from tests.e2e.test_sagas import PLAN, customers, dataset, definitions, legacy, postgres, prepared
from tests.proxies import Proxy

STORES = os.environ.get("PYMIGRATE_TEST_CRASH_STORES", "sqlite").split(",")
RECOVERIES = int(os.environ.get("PYMIGRATE_TEST_CRASH_DURING_RECOVERY", "0"))
SIDES = ("before", "after")
PASSES = os.environ.get("PYMIGRATE_TEST_CRASH_SIDES", "alternating").split(",")
COMMITS = (b"COMMIT\0", b"COMMIT PREPARED", b"PREPARE TRANSACTION")
COMMITS_MAX = 200
END_SECONDS_MAX = 90.0
ANSWERS_MAX = 5
SHOP, CLUB = range(500), range(400, 900)
__all__ = ["legacy"]


class CommitWatcher(Proxy):
    """Stands before the targets, and kills whom it is told to at a commit: before the server hears of it, or when it has answered."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._when, self._left, self._victim = "", 0, 0
        self._committing: socket.socket | None = None

    def order(self, when: str, number: int, victim: int) -> None:
        """The process to kill, at the Nth commit from now."""
        self._when, self._left, self._victim, self._committing = when, number, victim, None

    @property
    def is_ordered(self) -> bool:
        """Whether the order still waits for its commit."""
        return self._victim != 0

    def passes(self, piece: bytes, near: socket.socket, *, is_request: bool) -> bool:
        """Counts commits, and lets the one that was ordered pass or not."""
        if not self._victim:
            return True
        if is_request and any(text in piece for text in COMMITS):
            self._left -= 1
            if self._left == 0 and self._when == "before":
                return self._kill()
            if self._left == 0:
                self._committing = near
        elif not is_request and self._committing is near:
            return self._kill()
        return True

    def _kill(self) -> bool:
        victim, self._victim = self._victim, 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not is_alive(victim))
        return False


class Scene:
    """An engine, two databases behind a watcher, and a plan that publishes into both at once, then into one of them alone."""

    def __init__(self, engine: EngineProcess, one: str, two: str, legacy: Path, folder: Path) -> None:
        self.engine = engine
        self._one, self._two = one, two
        self.watcher = CommitWatcher(int(str(conninfo_to_dict(one)["port"])))
        self._text = definitions({"one": self._behind(one), "two": self._behind(two)}, phases(), legacy)
        self._file = folder / "plan.yaml"
        self._runs = 0

    def _behind(self, dsn: str) -> dict[str, Any]:
        found = postgres(dsn)
        found["postgres"]["port"] = self.watcher.port
        return found

    def declare(self) -> None:
        with self.engine.client() as client:
            declare(client, self._text, self._file)

    def host(self) -> int:
        """The worker host that there is."""
        return self.engine.host_pid()

    def pass_once(self) -> None:
        """One run and its rollback, whatever happens to the engine."""
        self._runs += 1
        asked = run_pb2.StartRunRequest(parent=PLAN, run_id=f"r{self._runs}")
        asked.run.triggers["pass"] = str(self._runs)
        name = f"{PLAN}/runs/r{self._runs}"
        self._insist(lambda client: client.runs.StartRun(asked, metadata=client.metadata, timeout=60))
        run = self._insist(lambda client: ended(client, name, END_SECONDS_MAX))
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        self._check_published()
        undo = run_pb2.RollbackRunRequest(name=name)
        self._insist(lambda client: client.runs.RollbackRun(undo, metadata=client.metadata, timeout=60))
        run = self._insist(lambda client: ended(client, name, END_SECONDS_MAX))
        assert run.state == run_pb2.RUN_STATE_ROLLED_BACK, run.failure
        self._check_gone()

    def _insist(self, call: Callable[[Client], Any]) -> Any:
        """Asks until it is answered; an engine that was killed is started again."""
        answered = 0
        while True:
            try:
                with self.engine.client() as client:
                    return call(client)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise AssertionError(self._standing()) from error
                if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
                    raise
                # An engine that lives says so itself: ask again later, as anybody else would.
                if answered < ANSWERS_MAX and rpc_status.from_call(cast(grpc.Call, error)) is not None:
                    answered += 1
                    continue
            process = self.engine.process
            assert process is not None
            process.wait(10)
            self._recover()

    def _standing(self) -> str:
        """What there is to see of a run that does not end."""
        is_alive = self.engine.process is not None and self.engine.process.poll() is None
        return f"engine alive: {is_alive}\n{(self.engine.home / 'engine.log').read_text()[-8_000:]}"

    def _recover(self) -> None:
        """The next engine, after those that are killed while they recover."""
        for commit in range(1, RECOVERIES + 1):
            crashing.order(self.engine.home, SIDES[commit % 2], commit)
            with contextlib.suppress(AssertionError):  # it may end before it serves
                self.engine.start()
            assert self.engine.process is not None
            with contextlib.suppress(AssertionError):
                wait_until(lambda: not crashing.is_ordered(self.engine.home), seconds=3.0)
            if crashing.is_ordered(self.engine.home):  # it had fewer commits to make
                crashing.withdraw(self.engine.home)
                return
            self.engine.process.wait(10)
        self.engine.start()

    def _check_published(self) -> None:
        assert customers(self._one) == {n: _name("shop", n) for n in SHOP}
        assert customers(self._two) == {n: _name("club", n) for n in CLUB}
        with psycopg.connect(self._one) as connection:
            found = connection.execute("SELECT id, name FROM archive").fetchall()
        assert sorted(found) == [(n, _name("shop", n)) for n in SHOP]
        assert prepared(self._one) == 0

    def _check_gone(self) -> None:
        assert prepared(self._one) == 0
        for dsn in (self._one, self._two):
            with psycopg.connect(dsn) as connection:
                left = connection.execute(
                    "SELECT table_schema, table_name FROM information_schema.tables"
                    " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
                    " AND table_name NOT IN ('checkpoint', 'publication', 'declaration')"
                ).fetchall()
                lanes = connection.execute("SELECT count(*) FROM pymigrate.checkpoint").fetchone()
            assert left == []
            assert lanes == (0,)


def side(when: str, commit: int) -> str:
    """The side of a commit that a pass takes."""
    return SIDES[commit % 2] if when == "alternating" else when


def phases() -> dict[str, Any]:
    """Two databases at once, then one with two lanes."""
    both = {"shop": dataset("shop", "one"), "club": dataset("club", "two")}
    archive = dataset("shop", "one", lanes=2)
    archive["target"]["relation"] = "archive"
    return {
        "customers": {"department": "sales", "datasets": both},
        "archive": {"department": "sales", "datasets": {"shop": archive}, "dependencies": ["customers"]},
    }


def _name(table: str, n: int) -> str:
    return f"{table} {n}" if n >= 450 else f"name {n}"


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    create_postgres_database: Callable[[], str],
    legacy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    """A warm scene; everything that it started is gone afterwards."""
    monkeypatch.setenv("PYMIGRATE_HOSTS_SHARED_MAX", "1")
    if request.param == "postgres":
        monkeypatch.setenv("PYMIGRATE_STORE", create_postgres_database())
    engine = EngineProcess(tmp_path / "home", "tests.e2e.crashing", is_warm=True)
    engine.start()
    found = Scene(engine, create_postgres_database(), create_postgres_database(), legacy, tmp_path)
    try:
        found.declare()
        found.pass_once()
        yield found
    finally:
        pids: list[int] = []
        crashing.withdraw(engine.home)
        if engine.process is not None and engine.process.poll() is None:
            pids = engine.host_pids()
            engine.stop()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        found.watcher.close()
