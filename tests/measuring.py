"""Which of the processes that tests start are measured for coverage: that costs more than half of what they do, and what is killed leaves
nothing measured anyway. `COVERAGE` is how coverage.py asks a new process to measure itself."""

import os

COVERAGE = "COVERAGE_PROCESS_CONFIG"


def unmeasured() -> dict[str, str]:
    """The surroundings of a process that is not."""
    return {name: value for name, value in os.environ.items() if name != COVERAGE}
