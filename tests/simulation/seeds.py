"""Runs seeds in a process of their own, and prints what became of each as a line of JSON:

python -m tests.simulation.seeds FIRST STEP END        the seeds from FIRST to END, every STEPth
python -m tests.simulation.seeds --mutants NAME...     until each mutant is caught, beginning where it was caught before, and then
                                                       the same seed with nothing wrong
python -m tests.simulation.seeds --scenarios END NAME...  the seeds from 0 to END, in trouble that is arranged
python -m tests.simulation.seeds --trace SEED          what happened under one seed, to read
"""

import json
import sys

from tests.simulation.mutants import MUTANTS
from tests.simulation.parts import REAL, Parts
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.world import Outcome, be_quiet, simulate

MUTANT_SEEDS_MAX = 300


def catch(name: str) -> list[Outcome]:
    """The first seed that shows what is wrong with a mutant, looked for from where it was seen last; and what becomes of that seed where
    nothing is wrong."""
    mutant = MUTANTS[name]

    def simulated(parts: Parts, number: int) -> Outcome:
        return simulate(number, parts, mutant.kinds, mutant.online_share, mutant.scenario)

    for number in range(mutant.seen_at, mutant.seen_at + MUTANT_SEEDS_MAX):
        outcome = simulated(mutant.parts, number)
        if outcome.broken:
            return [outcome, simulated(REAL, number)]
    return []


def _tell(outcome: Outcome, of: str = "") -> None:
    told = {
        "of": of,
        "seed": outcome.seed,
        "state": outcome.state,
        "broken": outcome.broken,
        "troubles": outcome.troubles,
        "digest": outcome.digest,
    }
    sys.stdout.write(json.dumps(told) + "\n")


def main(arguments: list[str]) -> None:
    """See the module."""
    be_quiet()
    match arguments:
        case ["--mutants", *names]:
            for name in names:
                for outcome in catch(name):
                    _tell(outcome, name)
        case ["--scenarios", end, *names]:
            for name in names:
                for number in range(int(end)):
                    _tell(simulate(number, kinds=(), scenario=SCENARIOS[name]), name)
        case ["--trace", seed]:
            outcome = simulate(int(seed))
            sys.stdout.write("\n".join([outcome.trace, *outcome.broken, ""]))
        case [first, step, end]:
            for number in range(int(first), int(end), int(step)):
                _tell(simulate(number))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
