"""Commits that go back: whether the state that a commit gives a plan is one that was applied before, behind which
revisions that goes, which runs hold data of them, in which order those are undone, and what is to be done next.

A plan goes back where its hash is one that it had before what it has now. A plan that is there no more goes back
where a commit says that it
reverts what brought it, or where the whole folder is one that was applied before: a plan that is simply deleted is none of this.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pymigrate.engine.domain.held_data import HeldRun
from pymigrate.engine.domain.run_states import RunState

# As `git revert` writes it: of a plain commit, of a merge (`…, reversing`), and with --reference (`… abc1234 (its subject, its day)`).
_REVERTS = re.compile(r"^This reverts commit ([0-9a-f]{7,64})(?=[.,\s]|$)", re.MULTILINE)
ABSENT = ""


@dataclass(frozen=True, slots=True)
class AppliedRevision:
    """A commit whose definitions were stored, when, and the hash of every plan in it by its resource name. Numbers grow with time."""

    number: int
    commit: str
    time: datetime
    plans: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WantedRevision:
    """A commit that is to be applied next. `reverted`: the numbers of the revisions that first held a commit which a commit between says it
    reverts; `is_known_folder`: the whole folder is one that was applied before what is applied now."""

    commit: str
    plans: Mapping[str, str]
    reverted: Collection[int] = ()
    is_known_folder: bool = False


@dataclass(frozen=True, slots=True)
class GoingBack:
    """A plan that goes back to a hash, or to not being there; behind these revisions, the newest first, of which the first was applied at
    `since`."""

    plan: str
    plan_hash: str
    behind: tuple[AppliedRevision, ...]

    @property
    def since(self) -> datetime:
        """When the first of what it goes behind was applied."""
        return self.behind[-1].time


@dataclass(frozen=True, slots=True)
class Rewind:
    """What going back takes: the commits that it goes behind, the newest first, and the runs, the one that is undone first at first.
    `followers`: plans that stay as they are, and hold data which they made after what they depend on."""

    commits: tuple[str, ...]
    runs: tuple[HeldRun, ...]
    followers: tuple[str, ...] = ()

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Why not all of it can be undone, a sentence each; nothing of it is touched then."""
        return tuple(
            f"phase `{phase.id}` of {run.name} can't be undone: {phase.stuck}"
            for run in self.runs
            for phase in run.phases
            if phase.stuck
        )


def reverted_commits(message: str) -> tuple[str, ...]:
    """The commits that a commit's message says it reverts, as they are written there: a prefix of the whole, perhaps."""
    return tuple(dict.fromkeys(_REVERTS.findall(message)))


def going_back(
    history: Sequence[AppliedRevision], wanted: WantedRevision, *, is_whole: bool = True
) -> tuple[GoingBack, ...]:
    """The plans that go back, ordered by name. `history` is what was applied, the oldest first, the last what is
    applied now; `is_whole`: from the first one on, before which no plan was there."""
    if not history:
        return ()
    now = history[-1]
    found = []
    for plan in sorted({*now.plans, *wanted.plans}):
        wished = wanted.plans.get(plan, ABSENT)
        if wished == now.plans.get(plan, ABSENT):
            continue
        behind = _behind(history, plan, wished, is_whole=is_whole)
        if not behind:
            continue
        if wished == ABSENT and not wanted.is_known_folder and behind[-1].number not in wanted.reverted:
            continue
        found.append(GoingBack(plan, wished, behind))
    return tuple(found)


def rewind_of(
    going: Sequence[GoingBack],
    runs: Sequence[HeldRun],
    dependencies: Mapping[str, Collection[str]] | None = None,
) -> Rewind | None:
    """What is to be undone for plans that go back; None where nothing holds data. `runs` are those of the plans that go back, and of those
    that depend on them; `dependencies` the plans that each plan depends on, by resource names."""
    needs = dependencies or {}
    since = {each.plan: each for each in going}
    chosen = [run for run in runs if run.holds and run.plan in since and _is_behind(run, since[run.plan])]
    if not chosen:
        return None
    plans = {run.plan for run in chosen}
    behind = {revision.number: revision for each in going if each.plan in plans for revision in each.behind}
    commits = dict.fromkeys(behind[number].commit for number in sorted(behind, reverse=True))
    ordered = in_order(chosen, needs)
    return Rewind(tuple(commits), tuple(ordered), tuple(sorted(set(_followers(ordered, runs, needs)))))


def in_order(runs: Sequence[HeldRun], dependencies: Mapping[str, Collection[str]]) -> list[HeldRun]:
    """Runs as they are undone: what may still publish first, then what was published last; of two at the same moment
    the one that depends on the other, and then the newer one."""
    ranks = _ranks({run.plan for run in runs}, dependencies)
    ordered = sorted(runs, key=lambda run: run.name)
    ordered.sort(key=lambda run: run.create_time, reverse=True)
    ordered.sort(key=lambda run: ranks[run.plan], reverse=True)
    ordered.sort(key=lambda run: run.publish_time or run.create_time, reverse=True)
    ordered.sort(key=lambda run: not run.is_under_way)
    return ordered


class Step(StrEnum):
    """What is to be done next."""

    CANCEL = "cancel"
    ROLL_BACK = "roll_back"
    WAIT = "wait"
    BLOCKED = "blocked"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class NextStep:
    """A step, and the runs that it concerns. Of a blocked one `message` says why."""

    step: Step
    runs: tuple[str, ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """A reversal under way: the runs as they stand now, those that were asked to be rolled back already, and who depends on whom."""

    runs: Sequence[HeldRun]
    asked: Collection[str] = ()
    dependencies: Mapping[str, Collection[str]] = field(default_factory=dict)

    def next_step(self) -> NextStep:
        """What is to be done next. It follows from what there is alone, so that whoever takes over goes on with it.
        Nothing is touched where
        something can't be undone; a run that is being undone comes to its end first, whatever else is the matter."""
        holding = [run for run in self.runs if run.holds]
        busy = [run for run in holding if run.is_undoing]
        if busy:
            return NextStep(Step.WAIT, tuple(run.name for run in busy))
        if stuck := Rewind((), tuple(holding)).obstacles:
            return NextStep(Step.BLOCKED, tuple(run.name for run in holding), "; ".join(stuck))
        if not holding:
            return NextStep(Step.DONE)
        ordered = in_order(holding, self.dependencies)
        under_way = [run for run in ordered if run.is_under_way]
        if len(under_way) > 1 or (under_way and _is_covered(under_way[0], ordered)):
            return NextStep(Step.CANCEL, tuple(run.name for run in under_way))
        first = ordered[0]
        if first.state is RunState.ROLLBACK_BLOCKED and first.name in self.asked:
            phases = ", ".join(f"`{phase.id}`" for phase in first.phases)
            return NextStep(
                Step.BLOCKED, (first.name,), f"{first.name} could not be rolled back: phase {phases} still holds data"
            )
        return NextStep(Step.ROLL_BACK, (first.name,))


def _behind(
    history: Sequence[AppliedRevision], plan: str, wished: str, *, is_whole: bool
) -> tuple[AppliedRevision, ...]:
    """The revisions since the newest one in which the plan was so, the newest first; nothing where it never was."""
    behind: list[AppliedRevision] = []
    for revision in reversed(history):
        if revision.plans.get(plan, ABSENT) == wished:
            return tuple(behind)
        behind.append(revision)
    return tuple(behind) if wished == ABSENT and is_whole else ()


def _is_behind(run: HeldRun, going: GoingBack) -> bool:
    """Whether a run is of what the plan goes behind. One of the hash that it goes back to may have begun at the
    moment at which the next one was applied, and is not."""
    if run.create_time == going.since:
        return run.plan_hash != going.plan_hash
    return run.create_time > going.since


def _is_covered(run: HeldRun, others: Sequence[HeldRun]) -> bool:
    """Whether another run published after this one had begun to: that one is undone before it."""
    first = run.first_publish_time
    return first is not None and any(
        other.name != run.name and other.publish_time is not None and other.publish_time > first for other in others
    )


def _followers(
    undone: Sequence[HeldRun], runs: Sequence[HeldRun], needs: Mapping[str, Collection[str]]
) -> Iterator[str]:
    first: dict[str, datetime] = {}
    for run in undone:
        first[run.plan] = min(run.create_time, first.get(run.plan, run.create_time))
    for run in runs:
        if run.holds and run.plan not in first:
            begun = [first[need] for need in needs.get(run.plan, ()) if need in first]
            if begun and run.create_time >= min(begun):
                yield run.plan


def _ranks(plans: Collection[str], dependencies: Mapping[str, Collection[str]]) -> dict[str, int]:
    """How many plans lie below one another down to each: what depends on another lies higher. Those in a circle lie where they are met."""
    ranks: dict[str, int] = {}
    for _ in range(len(plans) + 1):
        fresh = {
            plan: 1 + max((ranks.get(need, 0) for need in dependencies.get(plan, ()) if need in plans), default=0)
            for plan in plans
        }
        if fresh == ranks:
            break
        ranks = fresh
    return ranks
