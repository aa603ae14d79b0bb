"""Looks, in what the store holds, whether a commit goes back, and which runs that concerns. It reads little where
nothing goes back: only plans that are not as they were and have ever run are looked at."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

from pymigrate.engine.application.environment_layers import INHERITANCE
from pymigrate.engine.application.gitops.revision_history import (
    KnownHashes,
    has_been,
    history_of,
    newest_stored,
    plans_of,
    unlike,
)
from pymigrate.engine.application.kinds import ENVIRONMENTS, PLANS, children
from pymigrate.engine.domain.held_data import HeldRun, held_run
from pymigrate.engine.domain.layering import heirs_of
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.reversals import (
    ABSENT,
    AppliedRevision,
    GoingBack,
    Rewind,
    WantedRevision,
    going_back,
    rewind_of,
)
from pymigrate.engine.domain.run import Run
from pymigrate.engine.domain.run_keys import is_given_up
from pymigrate.engine.ports.store import Unit

RUNS_PAGE = 100


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be undone, and which plans each plan depends on, by resource names."""

    rewind: Rewind
    dependencies: Mapping[str, Collection[str]]


def rewind_for(
    unit: Unit,
    uid: str,
    commit: str,
    tree: str,
    wanted: Mapping[str, str],
    reverted: Collection[int],
    hashes: KnownHashes,
) -> Found | None:
    """What is to be undone before a commit is applied, whose folder has this digest and whose plans have these hashes. None: nothing."""
    applied = newest_stored(unit, uid)
    if applied is None:
        return None
    places = _Places(unit)
    changed = [
        plan
        for plan in unlike(plans_of(applied), wanted)
        if any(unit.runs.list(each, None, 1) for each in places.of(plan))
    ]
    new = {wanted[plan] for plan in changed if plan in wanted}
    known = hashes.of(unit, uid, new) if new else set[str]()
    is_known_folder = any(plan not in wanted for plan in changed) and has_been(unit, uid, tree)
    chosen = {
        plan: wanted.get(plan, ABSENT)
        for plan in changed
        if (wanted[plan] in known if plan in wanted else reverted or is_known_folder)
    }
    if not chosen:
        return None
    history, is_whole = history_of(unit, uid, chosen)
    hashed = {plan: plan_hash for plan, plan_hash in chosen.items() if plan_hash != ABSENT}
    going = going_back(history, WantedRevision(commit, hashed, reverted, is_known_folder), is_whole=is_whole)
    # Where environments inherit a plan, it runs in them, and goes back in them.
    going = tuple(replace(each, plan=place) for each in going for place in places.of(each.plan))
    if not going:
        return None
    needs = dependencies_in(unit, {environment_of(each.plan) for each in going})
    rewind = rewind_of(going, list(_runs_of(unit, going, needs)), needs)
    return None if rewind is None else Found(rewind, needs)


class _Places:
    """Where plans run: in the environment that declares each, and in those that inherit it."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._bases: dict[str, tuple[str, ...]] | None = None

    def of(self, plan: str) -> list[str]:
        """The plan's resource names, its own first."""
        environment = last_segment(environment_of(plan))
        if self._bases is None:
            found = (ENVIRONMENTS.read(each) for each in children(self._unit, ENVIRONMENTS.collection, ""))
            self._bases = {last_segment(each.name): tuple(each.bases) for each in found}
        heirs = heirs_of(environment, self._bases) if any(environment in each for each in self._bases.values()) else ()
        names = [f"environments/{heir}/plans/{last_segment(plan)}" for heir in heirs]
        inherited = (each for each in self._unit.resources.get_all(names) if each.managed_by == INHERITANCE)
        return [plan, *(each.name for each in inherited)]


def bringing(unit: Unit, uid: str, declared: Collection[str]) -> list[tuple[str, AppliedRevision]]:
    """The revisions that brought plans which are declared no longer, each with the commit of the revision before it;
    empty: there is none."""
    applied = newest_stored(unit, uid)
    gone = [plan for plan in plans_of(applied) if plan not in declared] if applied is not None else []
    if not gone:
        return []
    history, is_whole = history_of(unit, uid, dict.fromkeys(gone, ABSENT))
    going = going_back(history, WantedRevision("", {}, is_known_folder=True), is_whole=is_whole)
    before = {each.number: earlier.commit for earlier, each in pairwise(history)}
    first = {each.behind[-1].number: each.behind[-1] for each in going}
    return [(before.get(number, ""), revision) for number, revision in sorted(first.items())]


def held_runs(unit: Unit, names: Sequence[str]) -> list[HeldRun]:
    """What runs hold, as they stand now."""
    loaded = (unit.runs.load(name) for name in names)
    return [held_run(aggregate) for aggregate in loaded if aggregate is not None]


def given_up(unit: Unit, names: Sequence[str]) -> set[str]:
    """Those of these runs that gave their keys up."""
    found = (unit.runs.get(name) for name in names)
    return {run.name for run in found if run is not None and is_given_up(run)}


def dependencies_in(unit: Unit, environments: Collection[str]) -> dict[str, list[str]]:
    """The plans that each plan of these environments depends on, by resource names."""
    return {
        plan.name: [f"{environment}/plans/{need}" for need in PLANS.held(plan).dependencies]
        for environment in sorted(environments)
        for plan in children(unit, PLANS.collection, environment)
    }


def _runs_of(unit: Unit, going: Sequence[GoingBack], needs: Mapping[str, Collection[str]]) -> Iterator[HeldRun]:
    """The runs of plans that go back, and of those that depend on them, since the first revision that is gone behind."""
    since = {each.plan: each.since for each in going}
    for plan, others in needs.items():
        begun = [since[other] for other in others if other in since]
        if begun and plan not in since:
            since[plan] = min(begun)
    for plan, first in sorted(since.items()):
        yield from held_runs(unit, [run.name for run in _runs_since(unit, plan, first)])


def _runs_since(unit: Unit, plan: str, first: datetime) -> Iterator[Run]:
    before = None
    while page := unit.runs.list(plan, before, RUNS_PAGE):
        for run in page:
            if run.create_time < first:
                return
            yield run
        before = page[-1].create_time, page[-1].name
