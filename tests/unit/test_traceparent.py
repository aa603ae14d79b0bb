"""What a caller says of its trace, as W3C's Trace Context has it, and the ids that follow from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.ports.tracing import (
    NoTracing,
    SpanContext,
    enter,
    log_fields,
    present_span,
    read_traceparent,
    within,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("text", "is_sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_valid_one_is_read_and_one_of_a_later_version_by_what_is_known_of_it(text: str, is_sampled: bool) -> None:
    assert read_traceparent(text) == SpanContext(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01.",
        f"cc-{TRACE}-{SPAN}-01.more",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00_{TRACE}_{SPAN}_01",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 600}",
    ],
)
def test_an_invalid_one_is_ignored(text: str) -> None:
    assert read_traceparent(text) is None


@given(st.text(max_size=80))
def test_whatever_is_sent_is_read_or_ignored(text: str) -> None:
    found = read_traceparent(text)
    assert found is None or str(found)[3:52] == text[3:52]


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read_back(trace: int, span: int, is_sampled: bool) -> None:
    context = SpanContext(f"{trace:032x}", f"{span:016x}", is_sampled)
    assert read_traceparent(str(context)) == context


def test_a_derived_place_is_the_same_whoever_asks_and_another_for_other_words() -> None:
    context = SpanContext(TRACE, SPAN, is_sampled=False)
    assert context.derived("run", 1) == context.derived("run", 1)
    assert len({context.derived("run", 1).span_id, context.derived("run", 2).span_id, SPAN}) == 3
    assert context.derived("run", 1).trace_id == TRACE
    assert not context.derived("run", 1).is_sampled


def test_a_task_works_in_a_span_as_long_as_it_says() -> None:
    context = SpanContext(TRACE, SPAN)
    with within(context):
        assert present_span() == context
        assert log_fields(present_span()) == {"trace_id": TRACE, "span_id": SPAN}
    assert present_span() is None
    assert log_fields(None) == {}
    enter(context)
    assert present_span() == context
    enter(None)


def test_where_nobody_takes_spans_the_caller_s_trace_is_kept_for_logs() -> None:
    context = SpanContext(TRACE, SPAN)
    tracing = NoTracing()
    assert (tracing.begin(context), tracing.begin(None), tracing.is_on) == (context, None, False)
