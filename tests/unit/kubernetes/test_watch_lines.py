"""Lines of a watch, put together from pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.adapters.kubernetes.watching import LINE_BYTES_MAX, Lines
from pymigrate.engine.ports.cluster import ClusterUnavailable

LINES = st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=10)


@given(lines=LINES, cuts=st.lists(st.integers(0, 250), max_size=20))
def test_wherever_bytes_are_split_the_lines_are_the_same(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    edges = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    put_together = Lines("watch")
    found = [line for start, end in pairwise(edges) for line in put_together.feed(stream[start:end])]
    assert found == [line for line in lines if line.strip()]
    put_together.end()


def test_a_stream_that_ends_within_a_line_was_cut() -> None:
    lines = Lines("GET /api")
    assert list(lines.feed(b'{"a":1}\n{"b"')) == [b'{"a":1}']
    with pytest.raises(ClusterUnavailable, match="GET /api: the stream ended within a line, of which 4 bytes came"):
        lines.end()


def test_a_line_without_an_end_is_given_up() -> None:
    lines, piece = Lines("GET /api"), b"x" * (LINE_BYTES_MAX // 8)
    for _ in range(8):
        assert list(lines.feed(piece)) == []
    with pytest.raises(ClusterUnavailable, match="no end"):
        list(lines.feed(b"x"))


def test_a_line_as_long_as_it_may_be_is_read_after_another() -> None:
    lines, longest = Lines("GET /api"), b"x" * LINE_BYTES_MAX
    assert list(lines.feed(b"short\n" + longest + b"\n")) == [b"short", longest]
