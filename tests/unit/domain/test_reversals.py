"""Commits that go back: which plans, behind which revisions, which runs are undone in which order, and what keeps them from it."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from pymigrate.engine.domain.happenings import RollbackAsked, SealAsked
from pymigrate.engine.domain.held_data import SEALED, HeldPhase, HeldRun, held_run
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.reversals import (
    AppliedRevision,
    Progress,
    Rewind,
    Step,
    WantedRevision,
    going_back,
    in_order,
    reverted_commits,
    rewind_of,
)
from pymigrate.engine.domain.run_states import PhaseState, RunState, TaskKind
from tests.unit.domain.begun_runs import LATER, finish, phase, publish
from tests.unit.domain.test_undoing import core_of

START = datetime(2026, 3, 1, tzinfo=UTC)
SHA = "a" * 40
Plans = dict[str, str]


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def history(*states: Plans) -> list[AppliedRevision]:
    """Revisions that were applied ten minutes apart, of the commits c1, c2 and so on."""
    return [AppliedRevision(number, f"c{number}", at(10 * number), plans) for number, plans in enumerate(states, 1)]


def wanted(plans: Plans, *reverted: int) -> WantedRevision:
    return WantedRevision("new", plans, reverted)


def run(
    name: str,
    minute: float,
    plan_hash: str,
    *,
    plan: str = "p",
    state: RunState = RunState.SUCCEEDED,
    published: float | None = None,
    is_held: bool = True,
) -> HeldRun:
    phases = (HeldPhase("orders", 7, at(minute + 1 if published is None else published)),) if is_held else ()
    return HeldRun(name, plan, plan_hash, at(minute), state, phases)


def undone(past: list[AppliedRevision], commit: WantedRevision, *runs: HeldRun) -> list[str]:
    found = rewind_of(going_back(past, commit), runs)
    return [] if found is None else [each.name for each in found.runs]


# Whether it goes back ------------------------------------------------------------------------------------------------------------


def test_a_revert_of_the_last_commit_undoes_its_run_and_leaves_the_one_before() -> None:
    past = history({"p": "A"}, {"p": "B"})
    runs = (run("a1", 11, "A"), run("b1", 21, "B"))
    assert undone(past, wanted({"p": "A"}, 2), *runs) == ["b1"]
    found = rewind_of(going_back(past, wanted({"p": "A"})), runs)
    assert found is not None
    assert found.commits == ("c2",)


def test_a_revert_of_one_of_several_leaves_the_plans_of_the_others() -> None:
    past = history({"p": "A", "q": "K"}, {"p": "B", "q": "K"}, {"p": "B", "q": "L"})
    runs = (run("b1", 21, "B"), run("l1", 31, "L", plan="q"))
    assert undone(past, wanted({"p": "A", "q": "L"}, 2), *runs) == ["b1"]


def test_a_revert_of_two_at_once_goes_behind_both_and_undoes_the_newest_first() -> None:
    past = history({"p": "A"}, {"p": "B"}, {"p": "C"})
    runs = (run("b1", 21, "B"), run("c1", 31, "C"))
    found = rewind_of(going_back(past, wanted({"p": "A"}, 2, 3)), runs)
    assert found is not None
    assert [each.name for each in found.runs] == ["c1", "b1"]
    assert found.commits == ("c3", "c2")


def test_a_commit_that_gives_a_plan_a_state_it_never_had_goes_forward_whatever_it_says_it_reverts() -> None:
    past = history({"p": "A"}, {"p": "B"}, {"p": "C"})
    assert undone(past, wanted({"p": "D"}, 2), run("b1", 21, "B"), run("c1", 31, "C")) == []


def test_a_revert_of_a_revert_undoes_nothing_since_nothing_has_run_in_between() -> None:
    past = history({"p": "A"}, {"p": "B"}, {"p": "A"})
    runs = (run("a1", 11, "A"), run("b1", 21, "B", state=RunState.ROLLED_BACK, is_held=False))
    assert undone(past, wanted({"p": "B"}, 3), *runs) == []


def test_a_revert_of_a_revert_undoes_what_has_run_in_between() -> None:
    past = history({"p": "A"}, {"p": "B"}, {"p": "A"})
    assert undone(past, wanted({"p": "B"}, 3), run("b1", 21, "B"), run("a2", 31, "A")) == ["a2"]


def test_it_goes_back_to_the_last_time_that_a_plan_was_so() -> None:
    past = history({"p": "A"}, {"p": "B"}, {"p": "A"}, {"p": "C"})
    runs = (run("b1", 21, "B"), run("c1", 41, "C"))
    assert undone(past, wanted({"p": "A"}), *runs) == ["c1"], "the data of B was left where it was by policy"


def test_the_same_state_in_several_commits_is_left_as_a_whole() -> None:
    past = history({"p": "A"}, {"p": "B"}, {"p": "B"})
    runs = (run("b1", 21, "B"), run("b2", 31, "B"))
    assert undone(past, wanted({"p": "A"}), *runs) == ["b2", "b1"]


def test_a_force_push_back_is_the_same_as_a_revert() -> None:
    past = history({"p": "A"}, {"p": "B"})
    assert undone(past, wanted({"p": "A"}), run("b1", 21, "B")) == ["b1"]


def test_a_revert_that_also_changes_other_things_undoes_the_one_and_applies_the_other() -> None:
    past = history({"p": "A", "q": "K"}, {"p": "B", "q": "K"})
    runs = (run("b1", 21, "B"), run("k1", 11, "K", plan="q"))
    assert undone(past, wanted({"p": "A", "q": "M"}, 2), *runs) == ["b1"]


def test_a_plan_that_was_not_there_before_goes_back_to_that_where_a_commit_says_so() -> None:
    past = history({}, {"p": "A"}, {"p": "B"})
    runs = (run("a1", 21, "A"), run("b1", 31, "B"))
    assert undone(past, wanted({"q": "K"}, 2, 3), *runs) == ["b1", "a1"]
    assert undone(past, wanted({"q": "K"}, 3), *runs) == [], "what brought the plan is not reverted"


def test_a_plan_that_is_simply_deleted_does_not_go_back() -> None:
    past = history({"q": "K"}, {"p": "A", "q": "K"})
    assert undone(past, wanted({"q": "L"}), run("a1", 21, "A")) == []


def test_a_plan_that_is_deleted_goes_back_where_the_whole_folder_is_one_that_was_there_before() -> None:
    past = history({"q": "K"}, {"p": "A", "q": "K"})
    before = WantedRevision("new", {"q": "K"}, is_known_folder=True)
    assert undone(past, before, run("a1", 21, "A")) == ["a1"]


def test_a_first_commit_can_be_reverted() -> None:
    assert undone(history({"p": "A"}), wanted({}, 1), run("a1", 11, "A")) == ["a1"]


def test_where_history_is_cut_nobody_takes_a_plan_for_one_that_was_not_there() -> None:
    cut = history({"p": "A"}, {"p": "B"})[1:]
    assert going_back(cut, wanted({}, 2), is_whole=False) == ()


def test_nothing_goes_back_before_anything_was_applied() -> None:
    assert going_back([], wanted({"p": "A"})) == ()


# What is undone ------------------------------------------------------------------------------------------------------------------


def test_a_failed_run_that_published_some_of_its_phases_is_undone_and_one_that_published_none_is_not() -> None:
    past = history({"p": "A"}, {"p": "B"})
    runs = (
        run("b1", 21, "B", state=RunState.FAILED, is_held=False),
        run("b2", 22, "B", state=RunState.FAILED),
    )
    assert undone(past, wanted({"p": "A"}), *runs) == ["b2"]


def test_a_run_that_is_under_way_is_ended_first() -> None:
    past = history({"p": "A"}, {"p": "B"})
    runs = (run("b1", 21, "B"), run("b0", 20.5, "B", state=RunState.RUNNING, is_held=False))
    assert undone(past, wanted({"p": "A"}), *runs) == ["b0", "b1"]


def test_a_run_of_something_that_was_never_committed_is_undone_too_as_it_lies_over_the_others() -> None:
    past = history({"p": "A"}, {"p": "B"})
    runs = (run("b1", 21, "B"), run("x1", 25, "X"))
    assert undone(past, wanted({"p": "A"}), *runs) == ["x1", "b1"]


def test_what_began_with_the_revision_that_it_goes_back_to_stays_even_at_the_moment_of_the_next() -> None:
    past = history({"p": "A"}, {"p": "B"})
    assert undone(past, wanted({"p": "A"}), run("a1", 20, "A"), run("b1", 20, "B")) == ["b1"]


def test_what_was_published_last_is_undone_first_whenever_it_began() -> None:
    past = history({"p": "A"}, {"p": "B"})
    runs = (run("b1", 21, "B", published=40), run("b2", 22, "B", published=30))
    assert undone(past, wanted({"p": "A"}), *runs) == ["b1", "b2"]


def test_of_what_was_published_at_the_same_moment_dependents_are_undone_first() -> None:
    runs = [run("p1", 22, "B", published=30), run("q1", 21, "L", plan="q", published=30)]
    assert [each.name for each in in_order(runs, {"q": ("p",)})] == ["q1", "p1"]
    assert [each.name for each in in_order(runs, {"p": ("q",)})] == ["p1", "q1"]


def test_a_plan_that_depends_on_what_goes_back_is_told_and_left_alone() -> None:
    past = history({"p": "A", "q": "K"}, {"p": "B", "q": "K"})
    runs = (run("k0", 12, "K", plan="q"), run("b1", 21, "B"), run("k1", 22, "K", plan="q"))
    found = rewind_of(going_back(past, wanted({"p": "A", "q": "K"})), runs, {"q": ("p",)})
    assert found is not None
    assert [each.name for each in found.runs] == ["b1"]
    assert found.followers == ("q",)
    earlier = rewind_of(going_back(past, wanted({"p": "A", "q": "K"})), runs[:2], {"q": ("p",)})
    assert earlier is not None
    assert earlier.followers == ()


# What is done next ---------------------------------------------------------------------------------------------------------------


def test_runs_are_rolled_back_one_after_the_other() -> None:
    older, newer = run("b1", 21, "B"), run("b2", 22, "B")
    assert Progress([older, newer]).next_step().runs == ("b2",)
    under_way = HeldRun("b2", "p", "B", at(22), RunState.ROLLING_BACK, newer.phases, is_undoing=True)
    assert Progress([older, under_way]).next_step().step is Step.WAIT
    ended = run("b2", 22, "B", state=RunState.ROLLED_BACK, is_held=False)
    assert Progress([older, ended]).next_step().runs == ("b1",)
    assert (
        Progress([run("b1", 21, "B", state=RunState.ROLLED_BACK, is_held=False), ended]).next_step().step is Step.DONE
    )


def test_one_run_that_is_under_way_is_rolled_back_and_several_are_cancelled_before() -> None:
    first = run("b1", 21, "B", state=RunState.RUNNING, is_held=False)
    second = run("b2", 22, "B", state=RunState.PAUSED, is_held=False)
    assert Progress([first]).next_step().step is Step.ROLL_BACK
    found = Progress([first, second]).next_step()
    assert (found.step, set(found.runs)) == (Step.CANCEL, {"b1", "b2"})


def test_a_run_that_another_one_has_published_over_is_cancelled_and_undone_in_its_turn() -> None:
    over = run("b2", 22, "B", published=30)
    beneath = run("b1", 21, "B", state=RunState.RUNNING, published=25)
    assert Progress([beneath, over]).next_step().step is Step.CANCEL
    ended = run("b1", 21, "B", state=RunState.CANCELLED, published=25)
    assert Progress([ended, over]).next_step().runs == ("b2",)


def test_nothing_is_touched_where_anything_is_sealed() -> None:
    sealed = HeldRun("b1", "p", "B", at(21), RunState.SUCCEEDED, (HeldPhase("orders", 7, at(22), SEALED),))
    found = Progress([sealed, run("b2", 23, "B")]).next_step()
    assert found.step is Step.BLOCKED
    assert "phase `orders` of b1 can't be undone: its way back is sealed" in found.message


def test_what_is_blocked_is_tried_once_and_then_a_person_must_act() -> None:
    blocked = run("b1", 21, "B", state=RunState.ROLLBACK_BLOCKED)
    assert Progress([blocked]).next_step().step is Step.ROLL_BACK
    assert Progress([blocked], asked={"b1"}).next_step().step is Step.BLOCKED


# What a run holds ----------------------------------------------------------------------------------------------------------------


def chain() -> RunCore:
    core = core_of({"a": (), "b": ("a",), "c": ("b",)})
    publish(core, "a")
    publish(core, "b")
    return core


def test_a_run_holds_its_published_phases_the_one_that_needs_others_first() -> None:
    assert [each.id for each in held_run(chain().aggregate).phases] == ["b", "a"]


def test_a_phase_is_stuck_as_soon_as_its_sealing_has_begun() -> None:
    core = chain()
    core.apply(SealAsked("ann", ("a",)), LATER)
    found = held_run(core.aggregate)
    assert {each.id: each.stuck for each in found.phases} == {"a": SEALED, "b": ""}
    assert Rewind((), (found,)).obstacles


def test_a_phase_whose_final_step_was_done_is_stuck() -> None:
    core = chain()
    core.aggregate.phases["b"].final_steps = ("letters",)
    assert not held_run(core.aggregate).phases[0].stuck, "the step was not done yet"
    task = next(each for each in core.aggregate.tasks.values() if each.phase == "b")
    task.kind, task.detail, task.fence = TaskKind.STEP, "letters", 1
    assert "`letters`" in held_run(core.aggregate).phases[0].stuck


def test_a_run_of_which_only_one_phase_was_undone_holds_the_others() -> None:
    core = chain()
    core.run.state = RunState.FAILED
    core.apply(RollbackAsked("ann", "b"), LATER)
    assert held_run(core.aggregate).is_undoing
    finish(core, "b", TaskKind.ROLLBACK)
    assert phase(core, "a") is PhaseState.PUBLISHED
    found = held_run(core.aggregate)
    assert (found.state, found.holds, [each.id for each in found.phases]) == (RunState.ROLLED_BACK, True, ["a"])


# What a message says -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f'Revert "x"\n\nThis reverts commit {SHA}.\n', (SHA,)),
        (f"This reverts commit {SHA}, reversing\nchanges made to {'b' * 40}.", (SHA,)),
        ("This reverts commit abc1234 (Load orders, 2026-03-01).", ("abc1234",)),
        (f"Two\n\nThis reverts commit {SHA}.\nThis reverts commit {'c' * 64}.", (SHA, "c" * 64)),
        (f"> This reverts commit {SHA}.", ()),
        ("This reverts commit of ours.", ()),
        ("This reverts commit abc12.", ()),
        ("", ()),
    ],
)
def test_a_message_says_what_it_reverts_as_git_writes_it(message: str, expected: tuple[str, ...]) -> None:
    assert reverted_commits(message) == expected


def test_the_order_is_the_same_whatever_order_runs_come_in() -> None:
    runs = [run(f"r{number}", 20 + number % 3, "B", published=30 + number % 2) for number in range(8)]
    expected = [each.name for each in in_order(runs, {})]
    random.Random(1).shuffle(runs)
    assert [each.name for each in in_order(runs, {})] == expected
