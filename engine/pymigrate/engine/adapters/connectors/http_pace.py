"""When the next request to an API may begin: no sooner than its rate allows, and not while it asks for patience."""

import threading

from pymigrate.engine.ports.clock import BlockingClock


class RequestPace:
    """Shared by all threads that ask the API. `per_second_max` 0: as fast as it answers."""

    def __init__(self, clock: BlockingClock, per_second_max: float) -> None:
        self._clock = clock
        self._step_seconds = 1.0 / per_second_max if per_second_max > 0 else 0.0
        self._next_at = clock.monotonic()
        self._taking = threading.Lock()

    def take(self) -> None:
        """Returns when the next request may begin."""
        with self._taking:
            now = self._clock.monotonic()
            at = max(now, self._next_at)
            self._next_at = at + self._step_seconds
        if at > now:
            self._clock.wait(at - now)

    def pause(self, seconds: float) -> None:
        """Nobody asks again before so many seconds have passed."""
        with self._taking:
            self._next_at = max(self._next_at, self._clock.monotonic() + seconds)
