"""What is counted and timed: one contract for the fake and for what stands on prometheus-client."""

import threading

import pytest

from pymigrate.engine.adapters.metrics.prometheus import PrometheusMetrics
from pymigrate.engine.ports.metrics import Family, Kind, Labels, Metrics
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.metrics import MemoryMetrics

COUNTED = Family("pymigrate_things_total", Kind.COUNTER, "Things.", ("state", "kind"), series_max=2)
TIMED = Family("pymigrate_things_seconds", Kind.HISTOGRAM, "Things.", ("state",), series_max=2, buckets=(1.0, 2.0))
SHOWN = Family("pymigrate_things", Kind.GAUGE, "Things.", ("state",))


@pytest.fixture(params=["memory", "prometheus"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def metrics(kind: str) -> Metrics:
    return MemoryMetrics() if kind == "memory" else PrometheusMetrics(ManualClock())


def counts(metrics: Metrics, family: Family) -> dict[Labels, float]:
    """The values of a counter, or how many values a histogram has, by labels."""
    if isinstance(metrics, MemoryMetrics):
        observed = {labels: float(len(values)) for labels, values in metrics.observed[family].items()}
        return observed if family.kind is Kind.HISTOGRAM else dict(metrics.values[family])
    assert isinstance(metrics, PrometheusMetrics)
    suffix = "_count" if family.kind is Kind.HISTOGRAM else ""
    return {
        tuple(sample.labels[label] for label in family.labels): sample.value
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name == f"{family.name}{suffix}"
    }


def test_what_is_added_sums_up_by_labels(metrics: Metrics) -> None:
    metrics.add(COUNTED, ("a", "x"))
    metrics.add(COUNTED, ("a", "x"), 2.5)
    metrics.add(COUNTED, ("b", "x"), 0)
    assert counts(metrics, COUNTED) == {("a", "x"): 3.5, ("b", "x"): 0.0}


def test_what_is_observed_is_counted_by_labels(metrics: Metrics) -> None:
    for value in (0.5, 3.0):
        metrics.observe(TIMED, ("a",), value)
    metrics.observe(TIMED, ("b",), 1.0)
    assert counts(metrics, TIMED) == {("a",): 2.0, ("b",): 1.0}


def test_what_is_beyond_the_budget_is_told_together_and_what_was_known_goes_on(metrics: Metrics) -> None:
    for state in ("a", "b", "c", "d", "a"):
        metrics.add(COUNTED, (state, "x"))
        metrics.observe(TIMED, (state,), 1.0)
    assert counts(metrics, COUNTED) == {("a", "x"): 2.0, ("b", "x"): 1.0, ("overflow", "overflow"): 2.0}
    assert counts(metrics, TIMED) == {("a",): 2.0, ("b",): 1.0, ("overflow",): 2.0}


def test_what_is_forgotten_is_gone_and_makes_room(metrics: Metrics) -> None:
    for state in ("a", "b"):
        metrics.add(COUNTED, (state, "x"))
        metrics.observe(TIMED, (state,), 1.0)
    metrics.forget(COUNTED, "state", "a")
    metrics.forget(TIMED, "state", "a")
    metrics.add(COUNTED, ("c", "x"))
    metrics.observe(TIMED, ("c",), 1.0)
    assert counts(metrics, COUNTED) == {("b", "x"): 1.0, ("c", "x"): 1.0}
    assert counts(metrics, TIMED) == {("b",): 1.0, ("c",): 1.0}


def test_threads_that_count_at_once_lose_nothing(metrics: Metrics) -> None:
    def count() -> None:
        for _ in range(2_000):
            metrics.add(COUNTED, ("a", "x"))
            metrics.observe(TIMED, ("a",), 1.0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(metrics, COUNTED) == {("a", "x"): 8_000.0}
    assert counts(metrics, TIMED) == {("a",): 8_000.0}


@pytest.mark.parametrize("amount", [-1.0, float("nan")])
def test_a_counter_never_goes_back(metrics: Metrics, amount: float) -> None:
    with pytest.raises(ValueError, match="pymigrate_things_total is a counter"):
        metrics.add(COUNTED, ("a", "x"), amount)


def test_other_labels_than_the_family_has_are_refused(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="has the labels state, kind"):
        metrics.add(COUNTED, ("a",))
    with pytest.raises(ValueError, match="has the labels state"):
        metrics.observe(TIMED, ("a", "b"), 1.0)


def test_a_family_takes_what_its_kind_takes(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="is a histogram"):
        metrics.add(TIMED, ("a",))
    with pytest.raises(ValueError, match="is a counter"):
        metrics.observe(COUNTED, ("a", "x"), 1.0)
    with pytest.raises(ValueError, match="is a gauge"):
        metrics.add(SHOWN, ("a",))
