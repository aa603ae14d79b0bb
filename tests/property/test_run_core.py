"""The decision core under chance: whatever happens, no step is illegal, and once faults stop every run comes to its end."""

import hashlib
import os
import subprocess
import sys

import pytest

from pymigrate.engine.domain import orchestration
from pymigrate.engine.domain.run import RunState
from tests.property.simulated_runs import Simulation, traces

SEEDS = 600 if os.environ.get("PYMIGRATE_TEST_LONG") != "1" else 20_000
BATCHES = 6
DIGEST = """
import hashlib
from tests.property.simulated_runs import traces
print(hashlib.sha256("".join(traces(range(20))).encode()).hexdigest())
"""


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_run_comes_to_its_end_once_faults_stop(batch: int) -> None:
    ended = {Simulation(seed).run() for seed in range(batch, SEEDS, BATCHES)}
    assert ended <= {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}
    assert len(ended) > 1


def test_the_same_seed_gives_the_same_trace_whatever_the_hash_seed() -> None:
    digest = hashlib.sha256("".join(traces(range(20))).encode()).hexdigest()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == digest


class Unfenced(orchestration.RunCore):
    """A core that believes every host."""

    def _report(self, event):  # type: ignore[no-untyped-def]  # a mutant
        task = self.aggregate.tasks.get(event.task)
        if task is None:
            return False
        task.fence = event.fence
        return super()._report(event)


class Impatient(orchestration.RunCore):
    """A core that starts phases before what they need is published."""

    def _are_published(self, phases):  # type: ignore[no-untyped-def]  # a mutant
        return True


class Forgetful(orchestration.RunCore):
    """A core that never drops the staging of what failed, and so never hears of its end."""

    def _drop_pending(self, phase):  # type: ignore[no-untyped-def]  # a mutant
        return None


@pytest.mark.parametrize("mutant", [Unfenced, Impatient, Forgetful])
def test_the_invariants_catch_a_core_that_is_wrong(mutant: type[orchestration.RunCore]) -> None:
    caught = 0
    for seed in range(60):
        simulation = Simulation(seed)
        simulation.core = mutant(simulation.aggregate, simulation.rng)
        try:
            simulation.run()
        except Exception:  # noqa: BLE001 (whatever it is, it was noticed)
            caught += 1
    assert caught > 0
