"""The real core, use cases, supervisor, lanes and store, in virtual time and bad weather: what must hold, under hundreds of seeds.

`PYMIGRATE_TEST_SIMULATION_SEEDS` sets how many. A seed that fails is read with `python -m tests.simulation.seeds --trace SEED`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pymigrate.engine.testing.weather import Trouble
from tests.measuring import unmeasured
from tests.simulation.mutants import MUTANTS
from tests.simulation.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
SEEDS = int(
    os.environ.get("PYMIGRATE_TEST_SIMULATION_SEEDS", "2000" if os.environ.get("PYMIGRATE_TEST_LONG") == "1" else "300")
)
PROCESSES = 2
OTHER_HASH_SEED = "4711"
TRACED = min(SEEDS, 60)
ARRANGED = min(SEEDS, 60)
SECONDS_MAX = 900.0
KINDS_ASKED = 12
Outcomes = list[dict[str, Any]]


class Seeds:
    """Seeds in a process of their own, which no test's surroundings reach; what it tells goes into a file, so that it waits for nobody."""

    def __init__(self, *arguments: object, hash_seed: str = "1", is_measured: bool = False) -> None:
        command = [sys.executable, "-m", "tests.simulation.seeds", *map(str, arguments)]
        inherited = dict(os.environ) if is_measured else unmeasured()
        surroundings = {**inherited, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"}
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed when it was read)
        self._process = subprocess.Popen(command, cwd=ROOT, env=surroundings, stdout=self._told)

    def ended(self) -> Outcomes:
        """What it told. Raises when it failed."""
        try:
            assert self._process.wait(SECONDS_MAX + SEEDS) == 0
            self._told.seek(0)
            return [json.loads(line) for line in self._told]
        finally:
            self._process.kill()
            self._told.close()


def told(processes: Iterable[Seeds]) -> Outcomes:
    """What several told that run side by side."""
    return [outcome for process in list(processes) for outcome in process.ended()]


def told_of(names: Iterable[str], *arguments: object) -> Mapping[str, Outcomes]:
    """What as many processes as the suite may use told of each name: starting one takes as long as twenty seeds do."""
    every = list(names)
    processes = (Seeds(*arguments, *every[first::PROCESSES]) for first in range(PROCESSES))
    found: dict[str, Outcomes] = {name: [] for name in every}
    for outcome in told(processes):
        found[outcome["of"]].append(outcome)
    return found


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """Every seed's, from as many processes as the suite may use."""
    return told(Seeds(first, PROCESSES, SEEDS, hash_seed=str(first)) for first in range(PROCESSES))


@pytest.fixture(scope="module")
def arranged() -> Mapping[str, Outcomes]:
    """Every seed's under each scenario."""
    return told_of(SCENARIOS, "--scenarios", ARRANGED)


@pytest.fixture(scope="module")
def caught() -> Mapping[str, Outcomes]:
    """What gave each mutant away."""
    return told_of(MUTANTS, "--mutants")


@pytest.mark.timeout(SECONDS_MAX + SEEDS)
def test_no_row_is_lost_or_doubled_and_every_command_comes_to_an_end_under_any_seed(outcomes: Outcomes) -> None:
    assert len(outcomes) == SEEDS
    broken = {outcome["seed"]: outcome["broken"] for outcome in outcomes if outcome["broken"]}
    assert not broken


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_or_doubled_where_rare_trouble_is_arranged_either(
    arranged: Mapping[str, Outcomes], name: str
) -> None:
    outcomes = arranged[name]
    assert len(outcomes) == ARRANGED
    assert not {outcome["seed"]: outcome["broken"] for outcome in outcomes if outcome["broken"]}
    struck = {trouble for outcome in outcomes for trouble in outcome["troubles"]}
    assert struck == {str(spell.kind) for spell in SCENARIOS[name]}


def test_every_kind_of_trouble_struck(outcomes: Outcomes) -> None:
    struck = Counter(trouble for outcome in outcomes for trouble in outcome["troubles"])
    assert len(Trouble) >= KINDS_ASKED
    if SEEDS >= 300:  # fewer need not meet all of them
        assert set(struck) == {str(trouble) for trouble in Trouble}


def test_runs_ended_in_every_way_that_people_may_wish(outcomes: Outcomes) -> None:
    states = Counter(outcome["state"] for outcome in outcomes)
    assert set(states) >= {"succeeded", "cancelled", "rolled_back"}


def test_a_seed_gives_the_same_history_under_another_hash_seed(outcomes: Outcomes) -> None:
    # The one process that is measured for coverage: it goes through all that the others do.
    again = Seeds(0, 1, TRACED, hash_seed=OTHER_HASH_SEED, is_measured=True).ended()
    first, second = [
        {outcome["seed"]: outcome["digest"] for outcome in found if outcome["seed"] < TRACED}
        for found in (outcomes, again)
    ]
    assert first == second
    assert len(set(first.values())) == TRACED


@pytest.mark.parametrize("name", MUTANTS)
def test_a_world_with_one_part_wrong_is_noticed(caught: Mapping[str, Outcomes], name: str) -> None:
    found = caught[name]
    assert found, f"{name} went unnoticed"
    assert found[0]["broken"]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_world_with_that_part_right_is_sound_under_the_same_seed(caught: Mapping[str, Outcomes], name: str) -> None:
    wrong, right = caught[name]
    assert wrong["seed"] == right["seed"]
    assert not right["broken"]
