"""Approvals that a run's engine does not take, or took though more are needed: they are not sent again with each look."""

from dataclasses import dataclass, replace

from pymigrate.engine.domain.errors import FailedPrecondition, NotPermitted, PyMigrateError
from pymigrate.engine.entrypoints.operator.run_gates import ENVIRONMENT_GATE
from pymigrate.engine.entrypoints.operator.run_steering import ApproveGate, Situation
from pymigrate.engine.ports.clock import Clock

EARLY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Of a generation of what is declared. `until` is a monotonic moment; None: for as long as the declaration stays."""

    message: str
    generation: int
    until: float | None


class RunRefusals:
    """By the uids of resources."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refusals: dict[str, dict[ApproveGate, Refusal]] = {}

    def note(self, uid: str, step: ApproveGate, generation: int, error: PyMigrateError | None = None) -> float | None:
        """One that was sent, and what was said against it. Returns after how many seconds to try again what came too early."""
        is_early = isinstance(error, FailedPrecondition)
        until = self._clock.monotonic() + EARLY_SECONDS if is_early else None
        message = "" if error is None or is_early else _told(step, error)
        self._refusals.setdefault(uid, {})[step] = Refusal(message, generation, until)
        return EARLY_SECONDS if is_early else None

    def seen(self, uid: str, seen: Situation, generation: int) -> Situation:
        """What is known, with what is refused now."""
        now = self._clock.monotonic()
        kept = {
            step: each
            for step, each in self._refusals.get(uid, {}).items()
            if each.generation == generation and (each.until is None or each.until > now)
        }
        if kept:
            self._refusals[uid] = kept
        else:
            self.forget(uid)
        message = next((each.message for each in kept.values() if each.message), "")
        return replace(seen, refused=frozenset(kept), refusal=message)

    def forget(self, uid: str) -> None:
        """Of a resource that is gone."""
        self._refusals.pop(uid, None)


def _told(step: ApproveGate, error: PyMigrateError) -> str:
    """What the engine said. Of the policy's gate also that it has heard the operator, whoever wrote the approval into the resource."""
    if isinstance(error, NotPermitted) and ENVIRONMENT_GATE.fullmatch(step.gate):
        return f"{error.message}, by `pymigrate approve` with a token of their own: what a Run says is the operator's approval"
    return error.message
