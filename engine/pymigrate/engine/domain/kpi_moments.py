"""Since when something stands as it does, as a run's events tell it: the newest event of its kind counts, in whatever order they come."""

from datetime import datetime

from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.run import RunEvent
from pymigrate.engine.domain.run_states import LaneState, PhaseState, RunState

PAUSED = f"run.{RunState.PAUSED}"
VERIFYING = f"phase.{PhaseState.VERIFYING}"
CAUGHT_UP = "staging.caught_up"
STALLED = f"lane.{LaneState.STALLED}"
OTHER_PLAN_SUCCEEDED = "plan.succeeded"
KEPT = frozenset({OTHER_PLAN_SUCCEEDED, PAUSED, VERIFYING, CAUGHT_UP, STALLED})


class Moments:
    """The newest event of each kind that is kept, of a run and of each of its phases and lanes."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], tuple[int, datetime]] = {}

    def take(self, event: RunEvent) -> None:
        """Takes an event in; the same one again changes nothing."""
        if event.type in KEPT:
            place = event.type, last_segment(event.subject)
            told = event.sequence, event.time
            self._newest[place] = max(self._newest.get(place, told), told)

    def last(self, kind: str, subject: str) -> datetime | None:
        """When it happened last to a run, phase or lane, by its id; None where no event tells."""
        found = self._newest.get((kind, subject))
        return found[1] if found else None
