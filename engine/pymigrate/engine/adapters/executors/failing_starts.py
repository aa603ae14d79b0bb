"""Worker hosts that end again and again soon after they were started: told until one goes on for a while."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pymigrate.engine.domain.run import Failure

STEADY_SECONDS = 10.0  # one that has gone on for so long has registered
FAILURES_TOLD = 2
REASON = "HOST_KEEPS_ENDING"


@dataclass(slots=True)
class _Start:
    """A host's newest process. `failures` counts those in a row that ended by themselves before long."""

    affinity: str
    begun: float
    failures: int = 0
    last_code: int = 0
    is_over: bool = False


class FailingStarts:
    """What is known of the processes that were started; times are in seconds, by whatever clock."""

    def __init__(self) -> None:
        self._starts: dict[str, _Start] = {}

    def begun(self, host: str, affinity: str, now: float) -> None:
        """A process of the host was started."""
        before = self._starts.get(host)
        failures, code = (before.failures, before.last_code) if before is not None else (0, 0)
        self._starts[host] = _Start(affinity, now, failures, code)

    def ended(self, host: str, code: int, now: float) -> None:
        """Its newest process has ended; told again, nothing changes."""
        start = self._starts[host]
        if start.is_over:
            return
        start.is_over, start.last_code = True, code
        start.failures = start.failures + 1 if code and now - start.begun < STEADY_SECONDS else 0

    def troubles(self, now: float, log_of: Callable[[str], Path]) -> Mapping[str, Sequence[Failure]]:
        """What stands now, by affinity."""
        found: dict[str, list[Failure]] = {}
        for host, start in sorted(self._starts.items()):
            is_steady = not start.is_over and now - start.begun >= STEADY_SECONDS
            if start.failures < FAILURES_TOLD or is_steady:
                continue
            text = (
                f"the worker host {host} ended {start.failures} times in a row before it worked, the last time with exit code "
                f"{start.last_code}: {log_of(host)} tells why"
            )
            found.setdefault(start.affinity, []).append(Failure(REASON, text, is_temporary=True))
        return found
