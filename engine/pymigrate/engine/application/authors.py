"""Four eyes: who has written something of what a run does, since the last run of its plan that succeeded, and so may not approve it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.environment_layers import EnvironmentLayers
from pymigrate.engine.domain.errors import FailedPrecondition, NotPermitted
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.run import Run
from pymigrate.engine.domain.run_states import RunState
from pymigrate.engine.ports.patterns import NoPatterns
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import run_pb2

RUNS_LOOKED_MAX = 1_000
ENTRIES_MAX = 20_000
WRITES = frozenset({"create", "update", "delete"})
LOCAL = "local"


def authors_of(unit: Unit, plan: str, revision: run_pb2.PlanRevision) -> list[str]:
    """The principals that have written the plan, its phases, the connections that it uses, or its environment, in whatever layer, since the
    last run that succeeded was frozen; all that ever did where none has. Raises FailedPrecondition where that can't be told."""
    last = _last_success(unit, plan)
    before = run_pb2.PlanRevision.FromString(unit.runs.revision(last.name) or b"") if last else run_pb2.PlanRevision()
    since = _frozen_at(before, last)
    subjects = sorted(_subjects(unit, plan, (revision, before)))
    entries = unit.audit.about(subjects, ENTRIES_MAX)
    if len(entries) == ENTRIES_MAX and (since is None or entries[-1].time >= since):
        raise FailedPrecondition(
            f"{plan} was written more than {ENTRIES_MAX:,} times since a run of it succeeded, and its policy excludes authors: who they "
            "are can't be told any more; lift `policy.authors_excluded` for one run"
        )
    written = (each for each in entries if each.action in WRITES and (since is None or each.time >= since))
    return sorted({each.actor for each in written})


def refuse_author(revision: run_pb2.PlanRevision, run: str, caller: Caller) -> None:
    """Raises NotPermitted for who has written something of what the run does, where its environment's policy excludes authors."""
    if revision.policy.authors_excluded and _person(caller.principal) in map(_person, revision.authors):
        raise NotPermitted(
            f"{caller.principal} has written something of what {run} does: its environment's policy has somebody else approve it"
        )


def _person(principal: str) -> str:
    """Whoever holds the engine's token makes as many that end by themselves as it likes: they are one person."""
    return LOCAL if principal.startswith(f"{LOCAL}/") else principal


def _frozen_at(revision: run_pb2.PlanRevision, run: Run | None) -> datetime | None:
    if revision.HasField("freeze_time"):
        return revision.freeze_time.ToDatetime(UTC)
    return run.create_time if run is not None else None


def _last_success(unit: Unit, plan: str) -> Run | None:
    found = unit.runs.list(plan, None, RUNS_LOOKED_MAX)
    return next((run for run in found if run.state is RunState.SUCCEEDED), None)


def _subjects(unit: Unit, plan: str, revisions: Iterable[run_pb2.PlanRevision]) -> Iterator[str]:
    """The names under which an environment and what it inherits from hold what the revisions do; what the one before held may have been
    deleted since."""
    environment, own = last_segment(environment_of(plan)), last_segment(plan)
    keys = {"", f"/plans/{own}"}
    for revision in revisions:
        keys |= {f"/plans/{own}/phases/{phase}" for phase in revision.plan.phases}
        keys |= {f"/connections/{connection}" for connection in revision.connections}
    for layer in EnvironmentLayers(unit, NoPatterns()).layers(environment):
        yield from (f"environments/{layer}{key}" for key in keys)
