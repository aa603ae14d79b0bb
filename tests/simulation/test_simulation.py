"""The real core, use cases, supervisor, lanes and store, in virtual time and bad weather: what must hold, under hundreds of seeds.

`PYMIGRATE_TEST_SIMULATION_SEEDS` sets how many. A seed that fails is read with `python -m tests.simulation.seeds --trace SEED`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pymigrate.engine.testing.weather import Trouble
from tests.measuring import unmeasured
from tests.simulation.mutants import MUTANTS
from tests.simulation.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
SEEDS = int(
    os.environ.get("PYMIGRATE_TEST_SIMULATION_SEEDS", "2000" if os.environ.get("PYMIGRATE_TEST_LONG") == "1" else "600")
)
PROCESSES = 2
HASH_SEEDS = ("0", "4711")
TRACED = 60
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


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """Every seed's, from as many processes as the suite may use."""
    processes = [Seeds(first, PROCESSES, SEEDS, hash_seed=str(first)) for first in range(PROCESSES)]
    return [outcome for process in processes for outcome in process.ended()]


@pytest.mark.timeout(SECONDS_MAX + SEEDS)
def test_no_row_is_lost_or_doubled_and_every_command_comes_to_an_end_under_any_seed(outcomes: Outcomes) -> None:
    assert len(outcomes) == SEEDS
    broken = {outcome["seed"]: outcome["broken"] for outcome in outcomes if outcome["broken"]}
    assert not broken


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_or_doubled_where_rare_trouble_is_arranged_either(name: str) -> None:
    outcomes = Seeds("--scenario", name, ARRANGED).ended()
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


def test_a_seed_gives_the_same_history_under_another_hash_seed() -> None:
    told = [
        process.ended() for process in [Seeds(0, 1, TRACED, hash_seed=each, is_measured=True) for each in HASH_SEEDS]
    ]
    assert [outcome["digest"] for outcome in told[0]] == [outcome["digest"] for outcome in told[1]]
    assert len({outcome["digest"] for outcome in told[0]}) == TRACED


@pytest.fixture(scope="module")
def caught() -> Iterator[dict[str, "Future[Outcomes]"]]:
    """What gave each mutant away, looked for by as many processes as the suite may use."""

    def catch(name: str) -> Outcomes:
        return Seeds("--mutant", name).ended()

    with ThreadPoolExecutor(PROCESSES) as threads:
        yield {name: threads.submit(catch, name) for name in MUTANTS}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_world_with_one_part_wrong_is_noticed(caught: dict[str, "Future[Outcomes]"], name: str) -> None:
    found = caught[name].result()
    assert found, f"{name} went unnoticed"
    assert found[0]["broken"]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_world_with_that_part_right_is_sound_under_the_same_seed(
    caught: dict[str, "Future[Outcomes]"], name: str
) -> None:
    wrong, right = caught[name].result()
    assert wrong["seed"] == right["seed"]
    assert not right["broken"]
