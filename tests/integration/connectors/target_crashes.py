"""The contract of Target under kill -9: at whatever instruction a host dies, rows and checkpoint agree, and publication is whole."""

import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import StagingId
from tests.integration.connectors.target_crashing_host import appended_rows
from tests.integration.connectors.target_harness import Harness, LaneWriter, a_staging, numbered, pairs
from tests.measuring import unmeasured

ROUNDS = 12
MODULE = "tests.integration.connectors.target_crashing_host"
ROOT = Path(__file__).parents[3]


class Hosts:
    """Starts hosts in a process of their own and kills them."""

    def __init__(self, system: SystemSpec) -> None:
        self.system = system

    def __enter__(self) -> "Hosts":
        self.process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            cwd=ROOT, env=unmeasured(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def read(self) -> str:
        """The next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, "the process that starts hosts ended"
        return line

    def kill_one(self, what: str, number: int, seed: int, steps: int, seconds: float) -> list[str]:
        """Start a host, let it tell of so many steps and go on for so long, kill it; what it told."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([what, self.system.kind, dict(self.system.options), number, seed]) + "\n")
        self.process.stdin.flush()
        told: list[str] = []
        while not any(line.isdecimal() for line in told) or sum(line.startswith("step ") for line in told) < steps:
            told.append(self.read())
            assert "ended" not in told, told
        [pid] = [line for line in told if line.isdecimal()]
        # Nothing is awaited but the moment; what the host tells meanwhile stays in the pipe.
        select.select([], [], [], seconds)
        os.kill(int(pid), signal.SIGKILL)
        while told[-1] != "ended":
            told.append(self.read())
        return told


@pytest.fixture
def hosts(harness: Harness) -> Iterator[Hosts]:
    with Hosts(harness.system) as hosts:
        yield hosts


class CrashContract:
    """A host killed at random moments, seeded; the next one goes on."""

    @pytest.mark.no_cover
    def test_a_host_killed_at_any_moment_leaves_rows_and_checkpoint_in_step(
        self, harness: Harness, hosts: Hosts
    ) -> None:
        rng = random.Random(7)
        staging, rows = a_staging(id=StagingId("crashing")), []
        for fence in range(1, ROUNDS + 1):
            hosts.kill_one("lane", fence, fence, rng.randrange(1, 5), rng.uniform(0.0, 0.02))
            target = harness.open()
            at, holder = target.checkpoint(staging, "lane")
            assert holder == fence
            assert target.count_staging(staging) == at.rows
            assert pairs(target.read_staging(staging)) == numbered(1, at.rows)
            rows.append(at.rows)
            target.close()
        assert rows == sorted(rows)
        assert rows[-1] > 0
        target = harness.open()
        lane = LaneWriter(target, staging, fence=ROUNDS + 1).claim()
        lane.commit(numbered(lane.at.rows + 1, lane.at.rows + 5))
        target.publish([staging])
        assert harness.read("orders") == numbered(1, lane.at.rows)

    @pytest.mark.no_cover
    def test_a_host_killed_while_it_publishes_or_takes_back_leaves_one_whole_relation(
        self, harness: Harness, hosts: Hosts
    ) -> None:
        rng, number, contents = random.Random(11), 1, [0]
        for seed in range(ROUNDS):
            told = hosts.kill_one("publish", number, seed, rng.randrange(1, 4), rng.uniform(0.0, 0.05))
            attempts = [int(line.split()[1]) for line in told if line.startswith("step ")]
            contents += [done for done in attempts[:-1] if (done + seed) % 3 != 0]
            for last in attempts[-1:]:
                target, staging = harness.open(), a_staging(id=StagingId(f"attempt_{last}"), is_replace=True)
                staged = target.checkpoint(staging, "lane")[0].rows
                try:
                    if rng.random() < 0.5:
                        target.publish([staging])
                        contents.append(staged)
                    else:
                        target.rollback([staging])
                except FailedPrecondition:
                    # It was not prepared yet, or taken back already, perhaps only half.
                    target.rollback([staging])
                assert (target.rows("orders") or 0) == contents[-1]
                if contents[-1]:
                    assert harness.read("orders") == numbered(1, contents[-1])
                assert len(target.relations("*", 10)) <= 1
                target.close()
                number = last + 1
        assert len(contents) > ROUNDS / 2


class AppendCrashContract:
    """The same where rows are added to a relation."""

    @pytest.mark.no_cover
    def test_a_host_killed_while_it_appends_or_takes_back_leaves_every_append_whole(
        self, harness: Harness, hosts: Hosts
    ) -> None:
        harness.make("orders", [(0, "same")])
        rng, number, there = random.Random(13), 1, list[tuple[int, str | None]]()
        for seed in range(ROUNDS // 2):
            told = hosts.kill_one("append", number, seed, rng.randrange(2, 4), rng.uniform(0.0, 0.05))
            attempts = [int(line.split()[1]) for line in told if line.startswith("step ")]
            there += [row for done in attempts[:-1] if (done + seed) % 3 != 0 for row in appended_rows(done)]
            [last] = attempts[-1:]
            target, staging = harness.open(), a_staging(id=StagingId(f"attempt_{last}"), is_append=True)
            staged = target.checkpoint(staging, "lane")[0].rows
            try:
                if rng.random() < 0.5:
                    target.publish([staging])
                    there += appended_rows(last)[:staged]
                else:
                    target.rollback([staging])
            except FailedPrecondition:
                # It was not prepared yet, or taken back already, perhaps only half.
                target.rollback([staging])
            assert sorted(harness.read("orders"), key=str) == sorted([(0, "same"), *there], key=str)
            target.close()
            number = last + 1
        assert there
