"""The page: what prometheus-client would write, in both formats, whatever the values; and what collectors can't do to it."""

import asyncio
import gzip
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics

from pymigrate.engine.adapters.metrics.prometheus import PrometheusMetrics, machine_registry
from pymigrate.engine.adapters.metrics.tables import BEYOND_BUDGET_READ_MAX, SLICE_VALUES
from pymigrate.engine.adapters.metrics.text import OPENMETRICS, TEXT
from pymigrate.engine.ports.metric_families import COLLECTOR_FAILURES
from pymigrate.engine.ports.metrics import LABEL_CHARACTERS_MAX, Family, Kind, Labels, Reading
from pymigrate.engine.testing.clock import ManualClock
from tests.metrics_page import samples

COUNTED = Family("pymigrate_things_total", Kind.COUNTER, 'Things with a \\ and "quotes"\nand lines.', ("state", "kind"))
TIMED = Family("pymigrate_things_seconds", Kind.HISTOGRAM, "How long.", ("state", "kind"), buckets=(0.5, 1.0, 2e6))
SHOWN = Family("pymigrate_shown_bytes", Kind.GAUGE, "Shown.", ("state",))
FEW = Family("pymigrate_few", Kind.GAUGE, "Few.", ("state",), series_max=2)
SUMMED = Family("pymigrate_summed", Kind.GAUGE, "Summed.", ("state",), series_max=2, is_summed=True)
BARE = Family("pymigrate_bare_ratio", Kind.GAUGE, "No labels.")

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.one_of(
    st.floats(), st.integers(-(2**53), 2**53).map(float), st.sampled_from([0.0, 1e6, 999_999.0, 1e21, 1e-7])
)


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics(ManualClock())


async def told(metrics: PrometheusMetrics) -> dict[str, dict[Labels, float]]:
    """What the page tells, by sample and labels' values in the order of the labels' names."""
    found: dict[str, dict[Labels, float]] = {}
    for sample in samples((await metrics.page()).body):
        labels = tuple(sample.labels[name] for name in sorted(sample.labels))
        assert labels not in found.setdefault(sample.name, {}), sample
        found[sample.name][labels] = sample.value
    return found


@given(
    counted=st.lists(st.tuples(WORDS, WORDS, st.floats(0, 1e300)), max_size=5),
    timed=st.lists(st.tuples(WORDS, WORDS, st.floats(0, 1e9)), max_size=5),
    shown=st.dictionaries(WORDS, NUMBERS, max_size=5),
    again=st.dictionaries(WORDS, NUMBERS, max_size=5),
)
@settings(max_examples=100, deadline=None)
async def test_both_formats_are_prometheus_client_s_to_the_byte(
    counted: list[tuple[str, str, float]],
    timed: list[tuple[str, str, float]],
    shown: dict[str, float],
    again: dict[str, float],
) -> None:
    metrics = PrometheusMetrics(ManualClock())
    for state, kind, value in counted:
        metrics.add(COUNTED, (state, kind), value)
    for state, kind, value in timed:
        metrics.observe(TIMED, (state, kind), value)
    pages = iter((shown, again, again))
    metrics.collect("shown", lambda: [Reading(SHOWN, [((state,), value) for state, value in next(pages).items()])])
    metrics.collect("bare", lambda: [Reading(BARE, [((), 0.25)])])
    for accept in ("", "application/openmetrics-text; version=1.0.0", ""):
        page = await metrics.page(accept)
        theirs = generate_openmetrics if accept else generate_latest
        assert page.body == theirs(metrics.registry)


async def test_both_formats_are_read_by_prometheus_client_s_strict_parsers(metrics: PrometheusMetrics) -> None:
    metrics.add(COUNTED, ("a", "x"), 3)
    metrics.observe(TIMED, ("a", "x"), 0.7)
    metrics.collect("bare", lambda: [Reading(BARE, [((), 0.25)])])
    plain = [tuple(sample) for sample in samples((await metrics.page()).body)]
    text = (await metrics.page("application/openmetrics-text")).body.decode()
    strict = list(parsed_openmetrics(text))  # type: ignore[no-untyped-call]  # it takes the text
    assert len(plain) > 5
    assert sorted(str(tuple(sample)) for family in strict for sample in family.samples) == sorted(map(str, plain))
    assert {family.unit for family in strict if family.name == TIMED.name} == {"seconds"}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        (PROMETHEUS, OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.2,text/plain;q=0.9", TEXT),
        ("application/openmetrics-text;version=7.0.0", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=lots", TEXT),
        ("image/png", TEXT),
    ],
)
async def test_the_format_is_the_one_that_the_scraper_prefers(
    metrics: PrometheusMetrics, accept: str, kind: str
) -> None:
    page = await metrics.page(accept)
    assert page.content_type == kind
    assert page.body.endswith(b"# EOF\n") is (kind == OPENMETRICS)


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [("gzip", "gzip"), ("deflate, gzip;q=0.5", "gzip"), ("*", "gzip"), ("gzip;q=0", ""), ("br", "")],
)
async def test_the_page_is_compressed_for_those_that_take_it(
    metrics: PrometheusMetrics, accept: str, encoding: str
) -> None:
    metrics.add(COUNTED, ("a", "x"))
    page = await metrics.page("", accept)
    assert page.encoding == encoding
    body = gzip.decompress(page.body) if encoding else page.body
    assert b'pymigrate_things_total{kind="x",state="a"} 1.0\n' in body


async def test_the_process_and_the_interpreter_are_told_in_both_formats() -> None:
    metrics = PrometheusMetrics(ManualClock(), machine_registry())
    for accept in ("", "application/openmetrics-text"):
        body = (await metrics.page(accept)).body
        assert b"\nprocess_resident_memory_bytes " in body
        assert b"\npython_info{" in body
        assert b"\npython_gc_collections" in body


async def test_series_stand_where_they_stood_whatever_order_they_are_told_in(metrics: PrometheusMetrics) -> None:
    values: list[tuple[Labels, float]] = [(("b",), 1.0), (("a",), 2.0)]
    metrics.collect("shown", lambda: [Reading(SHOWN, values)])
    before = [sample for sample in samples((await metrics.page()).body) if sample.name == SHOWN.name]
    values.reverse()
    assert [sample for sample in samples((await metrics.page()).body) if sample.name == SHOWN.name] == before
    assert [sample.labels["state"] for sample in before] == ["b", "a"]


async def test_a_value_that_is_no_number_is_its_collector_s_failure(metrics: PrometheusMetrics) -> None:
    values: list[Any] = [(("a",), 1.0)]
    metrics.collect("shown", lambda: [Reading(SHOWN, values)])
    await metrics.page()
    for wrong in ("many", None, 10**400):
        values[0] = (("a",), wrong)
        assert (await told(metrics))[COLLECTOR_FAILURES.name]["shown",] > 0
    assert (await told(metrics))[COLLECTOR_FAILURES.name] == {("shown",): 4.0}


async def test_a_collected_series_that_is_told_no_more_is_gone(metrics: PrometheusMetrics) -> None:
    values: dict[Labels, float] = {("a",): 1.0, ("b",): 2.0}
    metrics.collect("shown", lambda: [Reading(SHOWN, values.items())])
    assert (await told(metrics))[SHOWN.name] == {("a",): 1.0, ("b",): 2.0}
    del values["a",]
    values["c",] = 3.0
    assert (await told(metrics))[SHOWN.name] == {("b",): 2.0, ("c",): 3.0}
    values.clear()
    assert SHOWN.name not in await told(metrics)


async def test_what_is_beyond_a_gauge_s_budget_is_told_by_its_greatest_or_by_its_sum(
    metrics: PrometheusMetrics,
) -> None:
    values: list[tuple[Labels, float]] = [(("a",), 1.0), (("b",), 1.0), (("c",), 5.0), (("d",), 7.0), (("e",), 6.0)]
    metrics.collect("few", lambda: [Reading(FEW, values), Reading(SUMMED, values)])
    found = await told(metrics)
    assert found[FEW.name] == {("a",): 1.0, ("b",): 1.0, ("overflow",): 7.0}
    assert found[SUMMED.name] == {("a",): 1.0, ("b",): 1.0, ("overflow",): 18.0}
    assert found["pymigrate_metrics_overflow_total"] == {(FEW.name,): 3.0, (SUMMED.name,): 3.0}


async def test_series_keep_their_place_while_others_wait_for_one(metrics: PrometheusMetrics) -> None:
    values: list[tuple[Labels, float]] = [(("a",), 1.0), (("b",), 1.0), (("c",), 5.0)]
    metrics.collect("few", lambda: [Reading(FEW, values)])
    await told(metrics)
    values.reverse()
    assert (await told(metrics))[FEW.name] == {("a",): 1.0, ("b",): 1.0, ("overflow",): 5.0}
    values[:] = [(("c",), 5.0)]
    await told(metrics)
    assert (await told(metrics))[FEW.name] == {("c",): 5.0}


@pytest.mark.parametrize("label", ["x" * (LABEL_CHARACTERS_MAX + 1), "\ud800"])
async def test_a_label_that_is_too_long_or_no_text_is_told_with_the_overflow(
    metrics: PrometheusMetrics, label: str
) -> None:
    metrics.add(COUNTED, (label, "x"))
    metrics.collect("shown", lambda: [Reading(SHOWN, [((label,), 4.0)])])
    found = await told(metrics)
    assert found[COUNTED.name] == {("overflow", "overflow"): 1.0}
    assert found[SHOWN.name] == {("overflow",): 4.0}


async def test_a_series_that_is_told_twice_stands_there_once(metrics: PrometheusMetrics) -> None:
    metrics.collect("shown", lambda: [Reading(SHOWN, [(("a",), 1.0), (("a",), 2.0)]), Reading(SHOWN, [(("a",), 3.0)])])
    assert (await told(metrics))[SHOWN.name] == {("a",): 1.0}


async def test_a_collector_that_fails_costs_what_it_has_not_told_yet_and_is_counted(metrics: PrometheusMetrics) -> None:
    def failing() -> Iterator[Reading]:
        yield Reading(SHOWN, [(("a",), 1.0)])
        raise RuntimeError("no more")

    def wrong() -> Iterable[Reading]:
        return [Reading(FEW, [(("a", "b"), 1.0)])]

    metrics.collect("failing", failing)
    metrics.collect("wrong", wrong)
    metrics.collect("bare", lambda: [Reading(BARE, [((), 0.25)])])
    await metrics.page()
    found = await told(metrics)
    assert found[SHOWN.name] == {("a",): 1.0}
    assert found[BARE.name] == {(): 0.25}
    assert FEW.name not in found
    assert found["pymigrate_collector_failures_total"] == {("failing",): 2.0, ("wrong",): 2.0, ("bare",): 0.0}
    assert set(found["pymigrate_collector_duration_seconds"]) == {("failing",), ("wrong",), ("bare",)}


async def test_a_collector_can_tell_no_family_that_is_counted_nor_one_of_a_name_that_is_taken(
    metrics: PrometheusMetrics,
) -> None:
    twin = Family(SHOWN.name, Kind.GAUGE, "A twin.", ("state",))
    metrics.add(COUNTED, ("a", "x"))
    metrics.collect("shown", lambda: [Reading(SHOWN, [(("a",), 1.0)])])
    metrics.collect("counted", lambda: [Reading(COUNTED, [(("a", "x"), 9.0)])])
    metrics.collect("twin", lambda: [Reading(twin, [(("b",), 9.0)])])
    metrics.collect("histogram", lambda: [Reading(TIMED, [(("a", "x"), 9.0)])])
    found = await told(metrics)
    assert found[COUNTED.name] == {("x", "a"): 1.0}
    assert found[SHOWN.name] == {("a",): 1.0}
    failures = found["pymigrate_collector_failures_total"]
    assert failures == {("shown",): 0.0, ("counted",): 1.0, ("twin",): 1.0, ("histogram",): 1.0}
    with pytest.raises(ValueError, match="is collected"):
        metrics.add(SHOWN, ("a",))


def test_a_label_that_is_not_on_the_list_is_refused(metrics: PrometheusMetrics) -> None:
    with pytest.raises(ValueError, match="not on the list of metric_families: customer"):
        metrics.add(Family("pymigrate_x_total", Kind.COUNTER, "X.", ("customer",)), ("a",))


async def test_everything_else_in_the_loop_goes_on_while_a_page_is_written(metrics: PrometheusMetrics) -> None:
    turns_at: list[int] = []
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def many() -> Iterator[tuple[Labels, float]]:
        for at in range(4 * SLICE_VALUES):
            if not at % SLICE_VALUES:
                turns_at.append(turns)
            yield (str(at % 2),), 1.0

    metrics.collect("shown", lambda: [Reading(SHOWN, many())])
    going = asyncio.create_task(other())
    await metrics.page()
    going.cancel()
    assert turns_at == sorted(set(turns_at))


async def test_whoever_asks_while_a_page_is_made_gets_the_same_one(metrics: PrometheusMetrics) -> None:
    asked = 0

    def count() -> list[Reading]:
        nonlocal asked
        asked += 1
        return [Reading(BARE, [((), float(asked))])]

    metrics.collect("bare", count)
    pages = await asyncio.gather(*(metrics.page() for _ in range(20)))
    assert len({page.body for page in pages}) == 1
    assert (await told(metrics))[BARE.name] == {(): 2.0}


async def test_a_scraper_that_goes_leaves_the_page_to_the_others(metrics: PrometheusMetrics) -> None:
    metrics.add(COUNTED, ("a", "x"))
    gone = asyncio.create_task(metrics.page())
    staying = asyncio.create_task(metrics.page())
    await asyncio.sleep(0)
    gone.cancel()
    assert b"pymigrate_things_total" in (await staying).body


async def test_a_collector_that_never_ends_is_left_once_its_budget_is_used_up(metrics: PrometheusMetrics) -> None:
    def endless() -> Iterator[tuple[Labels, float]]:
        at = 0
        while True:
            yield (f"name-{at}",), 1.0
            at += 1

    metrics.collect("few", lambda: [Reading(FEW, endless())])
    found = await told(metrics)
    assert set(found[FEW.name]) == {("name-0",), ("name-1",), ("overflow",)}
    assert found["pymigrate_metrics_overflow_total"] == {(FEW.name,): BEYOND_BUDGET_READ_MAX + 1.0}


def test_the_series_stand_in_prometheus_client_s_registry_too(metrics: PrometheusMetrics) -> None:
    metrics.add(COUNTED, ("a", "x"), 2)
    assert metrics.registry.get_sample_value(COUNTED.name, {"state": "a", "kind": "x"}) == 2.0
