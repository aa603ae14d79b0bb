"""The decision core under chance: whatever happens, no step is illegal, and once faults stop every run comes to its end."""

import copy
import hashlib
import os
import random
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymigrate.engine.domain import orchestration
from pymigrate.engine.domain.happenings import Begun
from pymigrate.engine.domain.run_states import RUN_ENDED, RunState
from tests.property.simulated_runs import Simulation, traces

# Coverage would take as long as the runs themselves; what they go through the domain's own tests measure.
pytestmark = pytest.mark.no_cover

SEEDS = 360 if os.environ.get("PYMIGRATE_TEST_LONG") != "1" else 20_000
BATCHES = 6
DIGEST = """
import hashlib
from tests.property.simulated_runs import traces
print(hashlib.sha256("".join(traces(range(20))).encode()).hexdigest())
"""


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_run_comes_to_its_end_once_faults_stop(batch: int) -> None:
    ended = {Simulation(seed).run() for seed in range(batch, SEEDS, BATCHES)}
    assert ended <= RUN_ENDED
    assert len(ended) > 2


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(st.randoms(use_true_random=False), st.integers(0, 40))
def test_every_run_comes_to_its_end_whatever_chance_is_drawn(chance: random.Random, faults: int) -> None:
    simulation = Simulation(chance=chance, faults=faults)
    assert simulation.run() in RUN_ENDED


def test_a_run_without_faults_succeeds() -> None:
    assert {Simulation(seed, faults=0).run() for seed in range(50)} == {RunState.SUCCEEDED}


def test_a_failed_run_succeeds_at_the_next_try_unless_something_can_not_be_taken_back() -> None:
    retried = 0
    for seed in range(100):
        simulation = Simulation(seed, faults=100)
        if simulation.run() is RunState.FAILED:
            retried += 1
            expected = RunState.FAILED if simulation.is_blocked else RunState.SUCCEEDED
            assert simulation.retry() is expected, seed
    assert retried > 10


def test_what_is_undone_takes_along_what_needs_it_and_nothing_else() -> None:
    undone = 0
    for seed in range(100):
        simulation = Simulation(seed, faults=0)
        assert simulation.run() is RunState.SUCCEEDED
        before = {name: phase.state for name, phase in simulation.aggregate.phases.items()}
        simulation.regret()
        after = {name for name, phase in simulation.aggregate.phases.items() if phase.state is not before[name]}
        undone += len(after)
        for phase in simulation.aggregate.phases.values():
            if after & set(phase.dependencies):
                assert phase.id in after, seed
    assert undone > 50


def test_an_engine_that_follows_a_dead_one_decides_as_it_would_have() -> None:
    for seed in range(30):
        lasting, followed = Simulation(seed), Simulation(seed)
        lasting.apply(Begun())
        followed.apply(Begun())
        for _ in range(60):
            event = lasting.random_event()
            lasting.apply(event)
            followed.core = orchestration.RunCore(copy.deepcopy(followed.aggregate), followed.core._rng)
            followed.apply(event)
            lasting.pass_time(1)
            followed.pass_time(1)
        assert followed.trace == lasting.trace
        assert followed.aggregate == lasting.aggregate


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

    def _may_start(self, phase):  # type: ignore[no-untyped-def]  # a mutant
        return True


class Forgetful(orchestration.RunCore):
    """A core that never drops the staging of what failed, and so never hears of its end."""

    def _drop_pending(self, phase):  # type: ignore[no-untyped-def]  # a mutant
        return None


class Hasty(orchestration.RunCore):
    """A core that undoes a phase while others still need it."""

    def _is_clear(self, phase):  # type: ignore[no-untyped-def]  # a mutant
        return True


class Lenient(orchestration.RunCore):
    """A core that publishes what nobody has approved."""

    def _is_approved(self, phase, point):  # type: ignore[no-untyped-def]  # a mutant
        return True


class Silent(orchestration.RunCore):
    """A core that waits for approvals of which nobody hears."""

    def _is_approved(self, phase, point):  # type: ignore[no-untyped-def]  # a mutant
        phase.told_gates = tuple(phase.gates)
        return super()._is_approved(phase, point)


class Nagging(orchestration.RunCore):
    """A core that tells of a gate whenever it looks at it."""

    def _is_approved(self, phase, point):  # type: ignore[no-untyped-def]  # a mutant
        phase.told_gates = ()
        return super()._is_approved(phase, point)


class Careless(orchestration.RunCore):
    """A core that takes back data though a step was done that nothing undoes."""

    def _final_step(self, phase):  # type: ignore[no-untyped-def]  # a mutant
        return None


@pytest.mark.parametrize("mutant", [Unfenced, Impatient, Forgetful, Hasty, Lenient, Silent, Nagging, Careless])
def test_the_invariants_catch_a_core_that_is_wrong(mutant: type[orchestration.RunCore]) -> None:
    assert any(is_caught(mutant, seed) for seed in range(60))


def is_caught(mutant: type[orchestration.RunCore], seed: int) -> bool:
    """Whether a run under that seed shows that the core is wrong."""
    simulation = Simulation(seed)
    simulation.core = mutant(simulation.aggregate, random.Random(seed))
    try:
        if simulation.run() is RunState.FAILED and not simulation.is_blocked:
            simulation.retry()
        simulation.regret()
    except Exception:  # noqa: BLE001 (whatever it is, it was noticed)
        return True
    return False
