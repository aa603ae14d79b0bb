"""The types of everything that can happen, as rules and templates name them: `phase.failed`, or `phase.*` for all that begin so.

A type that nothing ever has would match nothing, and nobody would be told; so it is refused where it is declared.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from pymigrate.engine.application.findings import FINDING_TYPES
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.run_states import DesiredState, LaneState, PhaseState, RunState, TaskKind

TYPES_MAX = 100
EVERY: Final = ".*"
# What happens in runs besides that a run, a phase or a lane comes to a state.
_OF_RUNS: Final = frozenset(
    {
        "dataset.quarantined",
        "dataset.repaired",
        "gate.approved",
        "gate.waiting",
        "plan.succeeded",
        "run.scaled",
        "run.steered",
        "seal.asked",
        "seal.failed",
        "secret.rotated",
        "staging.caught_up",
        "staging.left",
        f"step.{TaskKind.STEP}",
        f"step.{TaskKind.UNDO}",
    }
)
# What somebody does, by the first word of its action.
_OF_PEOPLE: Final = frozenset(
    f"audit.{word}"
    for word in (
        *("create", "update", "delete"),
        *("start", *DesiredState, "retry", "approve", "roll", "seal", "scale"),
        *("acknowledge", "redrive", "test"),
        # Of Git sources: what becomes of commits, and whether passes go well.
        *("apply", "correct", "refuse", "rewrite", "fail", "recover", "suspend", "resume", "hand"),
        # And of what is undone for them.
        *("hold", "undo", "undone", "reverse", "block", "give"),
        # What had no effect (`application/audit/noting.py`): who names no type means none of these.
        *("deny", "read"),
    )
)
EVENT_TYPES: Final[frozenset[str]] = (
    frozenset(
        f"{subject}.{state}"
        for subject, states in (("run", RunState), ("phase", PhaseState), ("lane", LaneState))
        for state in states
    )
    | _OF_RUNS
    | _OF_PEOPLE
    | FINDING_TYPES
)


def event_type_problems(path: str, types: Iterable[str]) -> Iterator[Problem]:
    """Problems of types as rules, silences and templates name them."""
    named = list(types)
    if len(named) > TYPES_MAX:
        yield Problem(path, f"has at most {TYPES_MAX} entries")
    if len(set(named)) < len(named):
        yield Problem(path, "names a type twice")
    for each in named:
        if not types_named(each):
            known = sorted({*EVENT_TYPES, *(_family(known) for known in EVENT_TYPES)})
            yield Problem(path, f"`{each}` is no type of event{nearest(each, known)}")


def types_named(pattern: str) -> frozenset[str]:
    """The types that `phase.failed` or `phase.*` names; none where there is no such type."""
    if pattern.endswith(EVERY):
        return frozenset(each for each in EVENT_TYPES if _family(each) == pattern)
    return frozenset({pattern}) & EVENT_TYPES


def _family(event_type: str) -> str:
    return f"{event_type.partition('.')[0]}{EVERY}"
