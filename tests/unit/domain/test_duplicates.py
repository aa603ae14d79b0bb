"""What a rule has told lately."""

from dataclasses import replace
from datetime import timedelta

from pymigrate.engine.domain import duplicates
from pymigrate.engine.domain.duplicates import Lately, ToldLately, is_so_recent, sameness
from tests.unit.domain.notified import NOW, occurrence, rule

TOLD = rule("r", "engineer", duplicate_seconds=60.0)


def test_the_same_is_of_one_rule_type_subject_and_reason() -> None:
    first = sameness(TOLD, occurrence(entry=1))
    assert first == sameness(TOLD, occurrence(entry=2))
    assert first != sameness(replace(TOLD, uid="another"), occurrence())
    assert first != sameness(TOLD, occurrence("phase.skipped"))
    assert first != sameness(TOLD, occurrence(subject="another"))
    assert first != sameness(TOLD, occurrence(failure=None))


def test_recent_is_what_lies_within_the_rules_seconds_whichever_came_first() -> None:
    told = occurrence(entry=0)
    for seconds, is_recent in ((0, True), (59.9, True), (60, False), (-59.9, True), (-60, False)):
        assert is_so_recent(TOLD, told.time - timedelta(seconds=seconds), told) is is_recent


def test_what_was_learned_of_a_rule_is_known_and_what_is_told_after_it_stands_above_it() -> None:
    lately, same = ToldLately(), sameness(TOLD, occurrence())
    assert not lately.is_learned(TOLD)
    lately.learn(TOLD, {same: Lately(NOW, ("first",))})
    lately.keep({same: Lately(NOW, ("second",))})
    assert lately.is_learned(TOLD)
    assert not lately.is_learned(replace(TOLD, uid="another"))
    assert lately.find(same) == Lately(NOW, ("second",))


def test_what_was_told_longest_ago_is_forgotten_first() -> None:
    lately = ToldLately()
    every = [sameness(TOLD, occurrence(subject=str(number))) for number in range(duplicates.TOLD_KEPT_MAX + 1)]
    lately.keep({same: Lately(NOW, ()) for same in every[:-1]})
    lately.keep({every[0]: Lately(NOW, ())})
    lately.keep({every[-1]: Lately(NOW, ())})
    assert lately.find(every[0]) is not None
    assert lately.find(every[1]) is None
