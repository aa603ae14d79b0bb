"""Keys of runs: what makes a run the same run, however often it is asked for. One that Git has undone gives its key
up, so that the same plan
with the same triggers is another run once Git asks for it again; until then it counts no more among the runs of its plan."""

import hashlib

from pymigrate.engine.domain.run import Run

GIVEN_UP = "undone:"


def given_up_key(run: str) -> str:
    """The key of a run, by its resource name, that gave its own up."""
    return GIVEN_UP + hashlib.sha256(run.encode()).hexdigest()


def is_given_up(run: Run) -> bool:
    """Whether a run gave its key up."""
    return run.key.startswith(GIVEN_UP)
