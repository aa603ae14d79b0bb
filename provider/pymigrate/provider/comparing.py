"""Asks the engine what a planned change makes of downtime, and warns. A plan never fails for it, and never waits long: comparisons are
made one after another, with a limit for each and for all of them together."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from pymigrate.provider import downtime
from pymigrate.provider.engine import violations
from pymigrate.provider.sdk import planning
from pymigrate.provider.sdk.diagnostics import Path, Refused
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.provider.sdk.schema import Attribute
from pymigrate.provider.sdk.values import has_unknown

DRAWS = 50
CALL_SECONDS_MAX = 10.0
SECONDS_MAX = 20.0  # all comparisons of one provider's process; a plan is to stay within 30 s
CALL_SECONDS_MIN = 0.5  # with less than that left none is begun
VARIANT = "changed"
NO_PHASE = "phases"  # the field that is wrong with a plan none of whose phases is created yet
# After these the next comparison would end no better.
ENDS = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
# An older engine, and a plan that is not there yet: nothing to tell.
EXPECTED = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND})

log = logging.getLogger("pymigrate.provider")


@dataclass(frozen=True)
class Change:
    """A planned change of a phase, or, where `phase` is empty, of the plan itself. `variant` makes the ImpactVariant, `path` leads to
    what changes."""

    plan: str
    phase: str
    variant: Callable[[], Any]
    path: Path


def changed_path(
    attributes: Mapping[str, Attribute], order: Sequence[str], prior: State, planned: State
) -> Path | None:
    """The place of a change that there is something to compare of: in the first attribute of `order` that differs, as far as all that
    differs in it has in common. None when none differs, one is not known yet, or another object takes the place of this one."""
    if any(has_unknown(planned.get(name)) for name in order) or planning.replaced(attributes, prior, planned):
        return None
    paths = list(planning.changes({name: attributes[name] for name in order}, prior, planned))
    return planning.foremost(paths, order) if paths else None


class Comparisons:
    """The comparisons of one provider's process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds_left = SECONDS_MAX
        self._is_over = False

    def warn(self, context: Context, provider: Any, change: Change) -> None:
        """Adds what there is to warn of. `provider` gives the engine and the share by which downtime may rise."""
        share_max = provider.downtime_increase_share_max
        if share_max is None or not provider.is_home_known:
            return
        try:
            answer = self._compared(context, provider, change)
            told = downtime.warnings(answer.base, answer.variants[VARIANT], change.phase, share_max) if answer else []
        except Refused as error:
            if not context.stopping.is_set():
                self._tell_failure(context, change, error.detail or error.summary)
        except Exception as error:  # whatever it is, the plan itself stands
            log.error("the comparison failed", exc_info=error)
            self._tell_failure(context, change, f"{type(error).__name__}: {error}")
        else:
            for warning in told:
                context.warn(warning.summary, warning.detail, change.path)

    def _compared(self, context: Context, provider: Any, change: Change) -> Any:
        """The engine's answer; None where there is none and nothing to say about it. Raises Refused that says why."""
        from pymigrate.v1 import impact_pb2

        request = impact_pb2.CompareImpactRequest(
            plan=change.plan, variants={VARIANT: change.variant()}, draws=DRAWS, probe_seconds_max=-1
        )
        with self._lock:
            if self._is_over:
                return None
            if self._seconds_left < CALL_SECONDS_MIN:
                self._is_over = True
                raise Refused(f"Comparing took the {SECONDS_MAX:g} s that it may take; other changes are not compared.")
            begin = self._clock()
            seconds = min(CALL_SECONDS_MAX, self._seconds_left)
            try:
                return provider.engine().wait("ImpactService", "CompareImpact", request, seconds, context.stopping)
            except grpc.RpcError as error:
                self._is_over = error.code() in ENDS
                if error.code() in EXPECTED or [field for field, _ in violations(error)] == [NO_PHASE]:
                    return None
                raise Refused(_reason(error, seconds, change)) from error
            except Refused:  # no engine serves, or the user interrupts
                self._is_over = True
                raise
            finally:
                self._seconds_left -= self._clock() - begin

    @staticmethod
    def _tell_failure(context: Context, change: Change, reason: str) -> None:
        what = f"phase {change.phase}" if change.phase else change.plan
        hint = "The change itself is not affected; `downtime_increase_share_max = -1` of the provider asks for no comparison."
        context.warn(f"What this change of {what} costs can't be told", f"{reason} {hint}", change.path)


def _reason(error: grpc.RpcError, seconds: float, change: Change) -> str:
    text = str(error.details()).rstrip(".")
    match error.code():
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"The comparison took more than {seconds:g} s; other changes are not compared."
        case grpc.StatusCode.UNAVAILABLE:
            return f"The engine does not answer: {text}. Other changes are not compared."
        case _:  # fields are told as they are written in the configuration
            place = f"variants.{VARIANT}."
            return f"{text.replace(f'{place}phases.{change.phase}.definition.', '').replace(place, '')}."
