"""Patterns by RE2."""

import pytest

from pymigrate.engine.adapters.patterns import Re2Patterns


def test_a_pattern_fits_a_whole_text() -> None:
    patterns = Re2Patterns()
    assert patterns.matches("[a-z]+é", "caé")
    assert not patterns.matches("[a-z]+", "ca1")


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "a{1001}", "((((a{100}){100}){100}){100})"])
def test_what_is_no_pattern_of_re2_or_takes_too_much_memory_is_refused_with_why(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Re2Patterns().matches(pattern, "")


def test_a_pattern_that_would_backtrack_for_years_is_matched_at_once() -> None:
    assert not Re2Patterns().matches("(a|aa)+(a|aa)+b", "a" * 4_000)
