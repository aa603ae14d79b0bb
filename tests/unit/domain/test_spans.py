"""Times that overlap count once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.spans import longest_seconds, total_seconds, union

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda each: (each[0], each[0] + each[1])))


def test_overlapping_and_touching_times_are_one() -> None:
    assert union([(5.0, 8.0), (0.0, 5.0), (10.0, 12.0), (11.0, 11.0)]) == [(0.0, 8.0), (10.0, 12.0)]


@given(SPANS)
def test_a_union_holds_each_second_once(spans: list[tuple[int, int]]) -> None:
    seconds = {second for start, end in spans for second in range(start, end)}
    joined = union((float(start), float(end)) for start, end in spans)
    assert total_seconds(joined) == len(seconds)
    assert {second for start, end in joined for second in range(int(start), int(end))} == seconds
    assert all(before[1] < after[0] for before, after in pairwise(joined))


@given(SPANS)
def test_the_longest_is_no_shorter_than_any_and_no_longer_than_all(spans: list[tuple[int, int]]) -> None:
    joined = union((float(start), float(end)) for start, end in spans)
    assert max((end - start for start, end in spans), default=0) <= longest_seconds(joined) <= total_seconds(joined)
