"""Which custom resources Run are admitted: pure, of what is declared and what was before. What a schema can refuse is refused by it."""

from collections.abc import Iterator
from typing import Any

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.entrypoints.operator.objects import spec_of
from pymigrate.engine.entrypoints.operator.run_steering import UID_TRIGGER
from pymigrate.engine.ports.cluster import Object
from pymigrate.v1.custom_resource_pb2 import LaneScaling, RunSpec
from pymigrate.v1.shape import ShapeError, from_data

FROZEN = ("plan", "triggers")
FOR_GOOD = ("cancel", "rollback")
ENVIRONMENT_GATE = "environment"
_BOUNDED = ("lag_seconds_max", "latency_factor_max")


def run_problems(old: Object | None, new: Object) -> Iterator[Problem]:
    """Why a Run is refused. `old` is what was there before, None at its creation."""
    wanted, shapes = _read(new)
    yield from (Problem(error.path, error.description) for error in shapes)
    if UID_TRIGGER in wanted.triggers:
        yield Problem(f"spec.triggers.{UID_TRIGGER}", "is set by the operator: leave it out")
    for at, gate in enumerate(wanted.gate_approvals):
        if not gate.phase and gate.gate != ENVIRONMENT_GATE:
            said = f"say the phase of the gate `{gate.gate}`: only `{ENVIRONMENT_GATE}` is approved for all of them"
            yield Problem(f"spec.gateApprovals[{at}].phase", said)
    if wanted.HasField("scaling"):
        yield from _scaling_problems(wanted.scaling)
    if old is not None and _is_accepted(old):
        before, _ = _read(old)
        for name in FROZEN:
            if getattr(before, name) != getattr(wanted, name):
                said = "can't be changed once the run is accepted: make another Run"
                yield Problem(f"spec.{name}", said)


def run_warnings(old: Object | None, new: Object) -> Iterator[str]:
    """What its author should know."""
    before, wanted = spec_of(old or {}), spec_of(new)
    for name in FOR_GOOD:
        if before.get(name) and not wanted.get(name):
            yield f"spec.{name}: was asked for already, and is for good: make another Run"
    if wanted.get("scaling") and wanted.get("lanes"):
        yield "spec.lanes: is not read beside spec.scaling"


def _scaling_problems(scaling: LaneScaling) -> Iterator[Problem]:
    if scaling.lanes_min > scaling.lanes_max:
        said = f"at least {scaling.lanes_min} lanes are more than at most {scaling.lanes_max}"
        yield Problem("spec.scaling.lanesMin", said)
    for name in _BOUNDED:
        if 0 < getattr(scaling, name) < 1:
            yield Problem(f"spec.scaling.{LaneScaling.DESCRIPTOR.fields_by_name[name].camelcase_name}", "is at least 1")


def _is_accepted(found: Object) -> bool:
    """Whether the engine has a run of it."""
    status: Any = found.get("status") or {}
    return bool(status.get("name"))


def _read(found: Object) -> tuple[RunSpec, list[ShapeError]]:
    message, errors = RunSpec(), list[ShapeError]()
    from_data(spec_of(found), message, "spec", tell=errors.append)
    return message, errors
