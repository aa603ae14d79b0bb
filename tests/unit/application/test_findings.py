"""What was found, as an entry's detail carries it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.findings import Finding, finding_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.builds(Finding, TEXTS, TEXTS, FINITE, FINITE, TEXTS, TEXTS))
def test_a_finding_is_read_as_it_was_written(finding: Finding) -> None:
    assert finding_of(finding.detail()) == finding


def test_a_detail_leaves_out_what_is_empty() -> None:
    assert Finding("late", value=3.5).detail() == '{"rule":"late","value":3.5}'


@pytest.mark.parametrize("detail", ["", "approved by hand", "{", "[1]", '{"figure":"rows"}', '{"rule":3}'])
def test_a_detail_of_anything_else_is_no_finding(detail: str) -> None:
    assert finding_of(detail) is None


@pytest.mark.parametrize("value", ['"3"', "true", "null"])
def test_a_value_that_is_no_number_makes_it_no_finding(value: str) -> None:
    assert finding_of(f'{{"rule":"late","value":{value}}}') is None


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert finding_of('{"rule":"late","colour":"red"}') == Finding("late")
