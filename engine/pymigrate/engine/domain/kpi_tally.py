"""What is counted of a run, by name. Counts of a whole are kept by adding what its parts' counts changed by, never by going through the
parts again; a count of nothing is not kept, so that equal wholes have equal counts."""

from collections.abc import Mapping

from pymigrate.engine.domain.run_states import LaneState, PhaseState

Tally = dict[str, int]

ROWS, BYTES = "rows", "bytes"  # staged or published
COPIED_ROWS, COPIED_BYTES = "copied_rows", "copied_bytes"  # of the newest attempts, whatever became of them
EXPECTED, DONE = "expected", "done"  # rows that are expected, and how many of those are there
UNKNOWN = "unknown"  # datasets whose rows are not known beforehand
PHASES, PUBLISHED = "phases", "published"
CHUNKS, RETRIES = "chunks", "retries"
QUARANTINED, CONFLICTS, REPAIRED = "quarantined", "conflicts", "repaired"
LANES = {state: f"lane/{state}" for state in LaneState}
PHASE_STATES = {state: f"phase/{state}" for state in PhaseState}
FAILURE = "failure/"
VERIFICATION = "verification/"
UNPUBLISHED_MAX = 0.999


def put(tally: Tally, difference: Mapping[str, int]) -> None:
    """Adds a difference."""
    for name, count in difference.items():
        after = tally.get(name, 0) + count
        if after:
            tally[name] = after
        else:
            tally.pop(name, None)


def difference(after: Mapping[str, int], before: Mapping[str, int]) -> Tally:
    """What leads from one to the other."""
    found = {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
    found.update((name, -count) for name, count in before.items() if name not in after and count)
    return found


def negative(tally: Mapping[str, int]) -> Tally:
    """What takes it away again."""
    return {name: -count for name, count in tally.items()}


def group(tally: Mapping[str, int], prefix: str) -> dict[str, int]:
    """The counts whose names begin so, by the rest of their names."""
    start = len(prefix)
    return {name[start:]: tally[name] for name in sorted(tally) if name.startswith(prefix)}


def completion(tally: Mapping[str, int]) -> float:
    """The share that is done: of rows where all are known, of phases where not. 1 only when every phase is published."""
    phases, published = tally.get(PHASES, 0), tally.get(PUBLISHED, 0)
    if phases and phases == published:
        return 1.0
    expected = tally.get(EXPECTED, 0)
    if expected and not tally.get(UNKNOWN):
        return min(tally.get(DONE, 0) / expected, UNPUBLISHED_MAX)
    return published / phases if phases else 0.0


def failure_rate(tally: Mapping[str, int], failures: int) -> float:
    """Failures for each chunk that was tried."""
    tries = tally.get(CHUNKS, 0) + failures
    return failures / tries if tries else 0.0
