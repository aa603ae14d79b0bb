"""Asks the engine what planned changes make of downtime, and warns. A plan never fails for it, and never waits long: changes that are
planned at once are compared by one call, and all calls together have a limit of time."""

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
SECONDS_MAX = 20.0  # all comparisons of one provider's process; a plan is to stay within 30 s
SECONDS_MIN = 0.5  # with less than that left none is begun
GATHER_SECONDS = 0.2  # how long the first change waits for others: Terraform plans ten resources at once
VARIANTS_MAX = 20
NO_PHASE = "phases"  # the field that is wrong with a plan none of whose phases is created yet
# After these the next comparison would end no better.
ENDS = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
# An older engine, and a plan that is not there yet: nothing to tell.
EXPECTED = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND})

TIME_IS_UP = f"Comparing took the {SECONDS_MAX:g} s that it may take; this change and others are not compared."

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


@dataclass(eq=False)
class _Asked:
    """A change that waits to be compared, and what came of it: what there is to warn of, or why that can't be told."""

    change: Change
    is_done: bool = False
    warnings: Sequence[downtime.Told] = ()
    failure: str = ""


class Comparisons:
    """The comparisons of one provider's process: one call at a time, with all changes of a plan that wait for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, gather_seconds: float = GATHER_SECONDS) -> None:
        self._clock = clock
        self._gather_seconds = gather_seconds
        self._turn = threading.Lock()
        self._arrival = threading.Lock()
        self._waiting: list[_Asked] = []
        self._seconds_left = SECONDS_MAX
        self._is_over = False

    def warn(self, context: Context, provider: Any, change: Change) -> None:
        """Adds what there is to warn of. `provider` gives the engine and the share by which downtime may rise."""
        if provider.downtime_increase_share_max is None or self._is_over or not provider.is_engine_known:
            return
        asked = _Asked(change)
        with self._arrival:
            self._waiting.append(asked)
        with self._turn:
            if not asked.is_done and not self._is_over:
                begin = self._clock()
                context.stopping.wait(self._gather_seconds)
                self._settle(self._batch(asked), context, provider)
                self._seconds_left -= self._clock() - begin
        if context.stopping.is_set():
            return
        if asked.failure:
            what = f"phase {change.phase}" if change.phase else change.plan
            hint = "The change itself is not affected; `downtime_increase_share_max = -1` of the provider asks for no comparison."
            context.warn(f"What this change of {what} costs can't be told", f"{asked.failure} {hint}", change.path)
        for told in asked.warnings:
            context.warn(told.summary, told.detail, change.path)

    def _batch(self, first: _Asked) -> list[_Asked]:
        """The changes of the same plan that wait, this one first; they wait no more."""
        with self._arrival:
            mine = [each for each in self._waiting if each is not first and each.change.plan == first.change.plan]
            batch = [first, *mine[: VARIANTS_MAX - 1]]
            self._waiting = [each for each in self._waiting if each not in batch]
        return batch

    def _settle(self, batch: list[_Asked], context: Context, provider: Any) -> None:
        """Asks the engine about changes of one plan. What fails for all of them the first alone tells."""
        try:
            self._compare(batch, context, provider)
        except Refused as error:  # no engine serves, the time is up, or the user interrupts
            self._is_over = True
            batch[0].failure = error.detail or error.summary
        except Exception as error:  # whatever it is, the plan itself stands
            log.error("the comparison failed", exc_info=error)
            batch[0].failure = f"{type(error).__name__}: {error}."
        finally:
            for asked in batch:
                asked.is_done = True

    def _compare(self, batch: list[_Asked], context: Context, provider: Any) -> None:
        from pymigrate.v1 import impact_pb2

        request = impact_pb2.CompareImpactRequest(plan=batch[0].change.plan, draws=DRAWS, probe_seconds_max=-1)
        changes: dict[str, _Asked] = {}
        for number, asked in enumerate(batch):
            try:
                request.variants[f"change-{number}"].CopyFrom(asked.change.variant())
                changes[f"change-{number}"] = asked
            except Refused as error:
                asked.failure = error.detail
        begin = self._clock()
        while changes:
            seconds = self._seconds_left - (self._clock() - begin)
            if seconds < SECONDS_MIN:
                raise Refused(TIME_IS_UP)
            try:
                answer = provider.engine().wait("ImpactService", "CompareImpact", request, seconds, context.stopping)
            except grpc.RpcError as error:
                wrong = _wrong(error, changes)
                if not wrong:
                    self._is_over = error.code() in ENDS
                    next(iter(changes.values())).failure = _reason(error)
                    return
                for name, said in wrong.items():  # the others are compared without them
                    changes.pop(name).failure = said
                    del request.variants[name]
            else:
                share_max = provider.downtime_increase_share_max
                for name, asked in changes.items():
                    changed = answer.variants[name]
                    asked.warnings = downtime.warnings(answer.base, changed, asked.change.phase, share_max)
                return


def _wrong(error: grpc.RpcError, changes: Mapping[str, _Asked]) -> dict[str, str]:
    """What the engine says is wrong with some of the changes, by the fields of the configuration."""
    found: dict[str, list[str]] = {}
    for field, description in violations(error):
        name, _, place = field.removeprefix("variants.").partition(".")
        if field.startswith("variants.") and name in changes:
            own = place.removeprefix(f"phases.{changes[name].change.phase}.definition.")
            found.setdefault(name, []).append(f"{own}: {description}.")
    return {name: " ".join([*said, "What it names may be yet to be created."]) for name, said in found.items()}


def _reason(error: grpc.RpcError) -> str:
    """Why there is no answer; empty where that is nothing to tell."""
    if error.code() in EXPECTED or [field for field, _ in violations(error)] == [NO_PHASE]:
        return ""
    text = str(error.details()).rstrip(".")
    match error.code():
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return TIME_IS_UP
        case grpc.StatusCode.UNAVAILABLE:
            return f"The engine does not answer: {text}. Other changes are not compared."
        case _:
            return f"{text}."
