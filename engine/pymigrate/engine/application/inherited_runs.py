"""Runs that keep an inherited object where it is: those under way, and those whose data can still be taken back."""

from collections.abc import Iterator

from pymigrate.engine.application.kinds import UNFINISHED
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.run import Run
from pymigrate.engine.domain.run_states import PhaseState
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import run_pb2

PAGE = 200


def require_unused(unit: Unit, environment: str, key: str) -> None:
    """Raises FailedPrecondition while a run of the environment uses the object, with where and what to do."""
    name = f"environments/{environment}"
    plan = "/".join(key.split("/")[:2]) if key.startswith("plans/") else "plans/-"
    if plan.startswith("plans/") and key.split("/", maxsplit=1)[0] not in {"plans", "connections", "departments"}:
        return
    for run in _runs(unit, f"{name}/{plan}"):
        is_unfinished = run.state in UNFINISHED
        if not _uses(unit, run.name, key):
            continue
        if is_unfinished:
            raise FailedPrecondition(f"{name}/{key} is in use by {run.name}: wait for its end, or cancel it")
        aggregate = unit.runs.load(run.name)
        published = [
            phase.id
            for phase in (aggregate.phases.values() if aggregate is not None else ())
            if phase.state is PhaseState.PUBLISHED
        ]
        if published:
            raise FailedPrecondition(
                f"{name}/{key} has data that {run.name} published and that can still be taken back"
                f" (phase {published[0]}): roll the run back, or seal it"
            )


def _runs(unit: Unit, plan: str) -> Iterator[Run]:
    """All runs of a plan, or of all plans of an environment, the newest first."""
    before = None
    while page := unit.runs.list(plan, before, PAGE):
        yield from page
        before = page[-1].create_time, page[-1].name


def _uses(unit: Unit, run: str, key: str) -> bool:
    """Whether a run froze the object."""
    collection, name = key.split("/")[-2:]
    if collection == "plans":
        return True
    revision = run_pb2.PlanRevision.FromString(unit.runs.revision(run) or b"")
    match collection:
        case "phases":
            return name in revision.plan.phases
        case "connections":
            return name in revision.connections
        case _:
            return any(phase.department == name for phase in revision.plan.phases.values())
