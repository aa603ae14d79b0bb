"""Runs seeds in a process of their own, and prints what became of each as a line of JSON:

python -m tests.simulation.seeds FIRST STEP END        the seeds from FIRST to END, every STEPth
python -m tests.simulation.seeds --mutant NAME         until the mutant is caught, beginning where it was caught before
python -m tests.simulation.seeds --trace SEED          what happened under one seed, to read
"""

import json
import sys

from tests.simulation.mutants import MUTANTS
from tests.simulation.world import Outcome, be_quiet, simulate

MUTANT_SEEDS_MAX = 300


def catch(name: str) -> Outcome | None:
    """The first seed that shows what is wrong with a mutant, looked for from where it was seen last."""
    mutant = MUTANTS[name]
    for number in range(mutant.seen_at, mutant.seen_at + MUTANT_SEEDS_MAX):
        outcome = simulate(number, mutant.parts, mutant.kinds, mutant.online_share)
        if outcome.broken:
            return outcome
    return None


def _tell(outcome: Outcome) -> None:
    told = {
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
        case ["--mutant", name]:
            if (caught := catch(name)) is not None:
                _tell(caught)
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
