"""Commits that go back, as properties over whole lives of a repository: what is undone lies on top of what is kept,
nothing of it began before what is gone behind, nothing that began since is left, and where nothing goes back nothing is undone.

Each property is paired with ways to get it wrong, which it must tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pymigrate.engine.domain.held_data import HeldPhase, HeldRun
from pymigrate.engine.domain.reversals import (
    ABSENT,
    AppliedRevision,
    GoingBack,
    NextStep,
    Progress,
    Step,
    WantedRevision,
    going_back,
    rewind_of,
)
from pymigrate.engine.domain.run_states import RunState

# The first example that shows what is wrong will do: it need not be the least.
FIRST = (Phase.generate,)
START = datetime(2026, 3, 1, tzinfo=UTC)
PLANS = ("p", "q")
HASHES = ("A", "B", "C", ABSENT)
Goes = Callable[[Sequence[AppliedRevision], WantedRevision], Sequence[GoingBack]]


@dataclass
class Repository:
    """What a source has applied, and what its runs have published, each over the one before it in its plan's target."""

    goes: Goes = going_back
    minute: int = 0
    history: list[AppliedRevision] = field(default_factory=list)
    targets: dict[str, list[HeldRun]] = field(default_factory=lambda: {plan: [] for plan in PLANS})
    began: dict[str, int] = field(default_factory=dict)

    @property
    def plans(self) -> dict[str, str]:
        return dict(self.history[-1].plans) if self.history else {}

    def run(self, plan: str, ending: RunState) -> None:
        """A run of what the plan is now; one that fails has published all the same."""
        if plan not in self.plans:
            return
        self.minute += 1
        name = f"r{self.minute:03}"
        now = START + timedelta(minutes=self.minute)
        self.targets[plan].append(
            HeldRun(name, plan, self.plans[plan], now, ending, (HeldPhase("orders", 1, now + timedelta(seconds=30)),))
        )
        self.began[name] = len(self.history)

    def commit(self, plans: dict[str, str], says: frozenset[int]) -> None:
        """Another commit, before which is undone what it goes behind."""
        self.minute += 1
        wanted = WantedRevision(f"c{self.minute}", plans, says, is_known_folder=self._is_known(plans))
        going = self.goes(self.history, wanted)
        runs = [run for target in self.targets.values() for run in target]
        rewind = rewind_of(going, runs)
        self._hold_exact(wanted, rewind.runs if rewind else ())
        now = START + timedelta(minutes=self.minute)
        self.history.append(AppliedRevision(len(self.history) + 1, wanted.commit, now, plans))

    def _hold_exact(self, wanted: WantedRevision, undone: Sequence[HeldRun]) -> None:
        expected = self._expected(wanted)
        assert {run.name for run in undone} == expected
        for run in undone:
            assert self.targets[run.plan].pop() == run, "only what lies on top can be undone"

    def _is_known(self, plans: dict[str, str]) -> bool:
        states = [each.plans for each in self.history]
        return plans in states[:-1] and plans != states[-1]

    def _expected(self, wanted: WantedRevision) -> set[str]:
        """By counting revisions, where the code compares moments: what began after the last one in which the plan was so."""
        names = set()
        for plan in PLANS:
            states = [each.plans.get(plan, ABSENT) for each in self.history]
            wished = wanted.plans.get(plan, ABSENT)
            if not states or wished == states[-1]:
                continue
            last = max((number for number, state in enumerate(states, 1) if state == wished), default=0)
            if wished != ABSENT and not last:
                continue
            if wished == ABSENT and not wanted.is_known_folder and last + 1 not in wanted.reverted:
                continue
            names |= {run.name for run in self.targets[plan] if self.began[run.name] > last}
        return names


COMMITS = st.tuples(
    st.fixed_dictionaries({plan: st.sampled_from(HASHES) for plan in PLANS}),
    st.frozensets(st.integers(1, 6), max_size=3),
)
RUNS = st.tuples(st.sampled_from(PLANS), st.sampled_from([RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED]))
LIVES = st.lists(COMMITS | RUNS, min_size=3, max_size=14)


def hold(goes: Goes) -> None:
    """Lives of a repository in which every commit undoes exactly what it goes behind."""

    @settings(max_examples=600, deadline=None, phases=FIRST, database=None)
    @given(LIVES)
    def check(life: list[tuple[object, object]]) -> None:
        repository = Repository(goes)
        for first, second in life:
            if isinstance(first, dict):
                repository.commit({plan: each for plan, each in first.items() if each != ABSENT}, second)  # type: ignore[arg-type]  # drawn so
            else:
                repository.run(first, second)  # type: ignore[arg-type]  # drawn so

    check()


def test_what_is_undone_is_exactly_what_began_since_and_lies_on_top() -> None:
    hold(going_back)


def _to_the_first_time(history: Sequence[AppliedRevision], wanted: WantedRevision) -> list[GoingBack]:
    found = []
    for each in going_back(history, wanted):
        first = next(
            (revision.number for revision in history if revision.plans.get(each.plan, ABSENT) == each.plan_hash), 0
        )
        found.append(replace(each, behind=tuple(r for r in reversed(history) if r.number > first)))
    return found


def _only_the_last(history: Sequence[AppliedRevision], wanted: WantedRevision) -> list[GoingBack]:
    return [replace(each, behind=each.behind[:1]) for each in going_back(history, wanted)]


def _whatever_is_deleted(history: Sequence[AppliedRevision], wanted: WantedRevision) -> list[GoingBack]:
    return list(going_back(history, replace(wanted, reverted=range(1, 20))))


def _never_what_is_deleted(history: Sequence[AppliedRevision], wanted: WantedRevision) -> list[GoingBack]:
    return [each for each in going_back(history, wanted) if each.plan_hash != ABSENT]


def _whatever_changes(history: Sequence[AppliedRevision], wanted: WantedRevision) -> list[GoingBack]:
    now = history[-1].plans if history else {}
    changed = [plan for plan in PLANS if history and now.get(plan, ABSENT) != wanted.plans.get(plan, ABSENT)]
    return [GoingBack(plan, wanted.plans.get(plan, ABSENT), tuple(reversed(history))) for plan in changed]


def _only_with_words(history: Sequence[AppliedRevision], wanted: WantedRevision) -> list[GoingBack]:
    return [each for each in going_back(history, wanted) if wanted.reverted]


def _one_plan_at_once(history: Sequence[AppliedRevision], wanted: WantedRevision) -> list[GoingBack]:
    return list(going_back(history, wanted)[:1])


@pytest.mark.parametrize(
    "goes",
    [
        _to_the_first_time,
        _only_the_last,
        _whatever_is_deleted,
        _never_what_is_deleted,
        _whatever_changes,
        _only_with_words,
        _one_plan_at_once,
    ],
)
def test_a_way_to_get_it_wrong_is_told(goes: Goes) -> None:
    with pytest.raises(AssertionError):
        hold(goes)


def hold_progress(next_step: Callable[[list[HeldRun], set[str]], NextStep]) -> None:
    """Runs are undone from the top, each once, until nothing is held; whoever takes over in between goes on alike."""

    @settings(max_examples=200, deadline=None, phases=FIRST, database=None)
    @given(st.permutations(range(5)), st.integers(1, 5), st.data())
    def check(begun: list[int], count: int, data: st.DataObject) -> None:
        published = [
            HeldRun(
                f"r{number}",
                "p",
                "B",
                START + timedelta(minutes=number),
                RunState.SUCCEEDED,
                (HeldPhase("orders", 1, START + timedelta(hours=1, minutes=place)),),
            )
            for place, number in enumerate(begun[:count])
        ]
        standing = {run.name: run for run in published}
        asked: set[str] = set()
        for _ in range(3 * count + 1):
            step = next_step(list(standing.values()), asked)
            if step.step is Step.DONE:
                break
            if step.step is Step.WAIT:
                (name,) = step.runs
                standing[name] = replace(standing[name], state=RunState.ROLLED_BACK, phases=(), is_undoing=False)
                continue
            (name,) = step.runs
            assert name == published.pop().name
            standing[name] = replace(standing[name], state=RunState.ROLLING_BACK, is_undoing=True)
            if data.draw(st.booleans()):
                asked.add(name)  # an engine that dies before keeps nothing of it
        assert not any(run.holds for run in standing.values())

    check()


def _next_step(runs: list[HeldRun], asked: set[str]) -> NextStep:
    return Progress(runs, asked).next_step()


def _by_beginning(runs: list[HeldRun], asked: set[str]) -> NextStep:
    step = _next_step(runs, asked)
    held = sorted((run for run in runs if run.phases), key=lambda run: run.create_time)
    return replace(step, runs=(held[-1].name,)) if step.step is Step.ROLL_BACK else step


def _without_waiting(runs: list[HeldRun], asked: set[str]) -> NextStep:
    return _next_step([replace(run, is_undoing=False) for run in runs], asked)


def _all_but_one(runs: list[HeldRun], asked: set[str]) -> NextStep:
    return _next_step(runs, asked) if sum(run.holds for run in runs) > 1 else NextStep(Step.DONE)


def test_runs_are_undone_from_the_top_until_nothing_is_held() -> None:
    hold_progress(_next_step)


@pytest.mark.parametrize("next_step", [_by_beginning, _without_waiting, _all_but_one])
def test_a_way_to_undo_them_wrongly_is_told(next_step: Callable[[list[HeldRun], set[str]], NextStep]) -> None:
    with pytest.raises((AssertionError, IndexError)):
        hold_progress(next_step)
