"""Business metrics of plugins, each in a real process of its own: whatever one does, the page loses its series and nothing else."""

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.metrics.plugin_process import (
    PluginFailedError,
    PluginProcess,
    command_of,
)
from pymigrate.engine.adapters.metrics.plugins import (
    FRESH_SECONDS_MAX,
    INTERVAL_SECONDS,
    WAIT_SECONDS_MAX,
    PluginCollector,
)
from pymigrate.engine.adapters.metrics.prometheus import PrometheusMetrics
from pymigrate.engine.adapters.pipes import given_of
from pymigrate.engine.ports.business_metrics import FAMILY_SERIES_MAX, PlanFigures
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.metrics import MemoryMetrics
from tests.integration.metrics.plugins import install, install_misbehaving
from tests.metrics_page import series

PLANS = (
    PlanFigures("prod", "books", "running", 50, 500, 0.5),
    PlanFigures("prod", "toys", "succeeded", 7, 70, 1.0),
    PlanFigures("dev", "books", "failed", 0, 0, 0.0),
)
SHORT_SECONDS = 0.5


class Plugins:
    """Plugins on one page."""

    def __init__(self) -> None:
        self.metrics = PrometheusMetrics(SystemClock())
        self.processes: list[PluginProcess] = []

    def add(self, name: str, seconds_max: float = 60.0) -> PluginCollector:
        process = PluginProcess(command_of(name), seconds_max, 60.0)
        self.processes.append(process)
        return PluginCollector(name, process, self.metrics, SystemClock(), lambda: PLANS)

    async def told(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        return series((await self.metrics.page()).body, name, *labels)

    async def failures(self) -> dict[tuple[str, ...], float]:
        return await self.told("pymigrate_collector_failures_total", "collector")


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site")
    install_misbehaving(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


@pytest.fixture
async def plugins() -> AsyncIterator[Plugins]:
    made = Plugins()
    yield made
    for process in made.processes:
        await process.close()


async def test_the_example_tells_what_plans_mean_to_the_business(plugins: Plugins) -> None:
    await plugins.add("invoices").ask()
    arrived = await plugins.told("invoices_arrived", "environment", "plan")
    assert arrived == {("prod", "books"): 10, ("prod", "toys"): 1, ("dev", "books"): 0}
    assert await plugins.told("invoices_spared_seconds", "environment") == {("prod",): 1_320, ("dev",): 0}
    assert await plugins.failures() == {("plugin:invoices",): 0}


async def test_a_plugin_is_one_process_that_is_asked_again(plugins: Plugins) -> None:
    invoices = plugins.add("invoices")
    await invoices.ask()
    pid = plugins.processes[0].pid
    await invoices.ask()
    assert plugins.processes[0].pid == pid != os.getpid()


@pytest.mark.parametrize(
    ("name", "seconds_max", "is_ended"),
    [
        ("hanging", SHORT_SECONDS, True),
        ("sleeping", SHORT_SECONDS, True),
        ("raising", 60.0, False),
        ("exiting", 60.0, False),
        ("greedy", 60.0, False),
        ("wordy", 60.0, True),
        ("broken", 60.0, True),
        ("absent", 60.0, True),
    ],
)
async def test_a_plugin_that_does_not_answer_costs_its_own_series_and_is_counted(
    plugins: Plugins, name: str, seconds_max: float, is_ended: bool
) -> None:
    await plugins.add("invoices").ask()
    await plugins.add(name, seconds_max).ask()
    assert len(await plugins.told("invoices_arrived", "environment", "plan")) == 3
    assert await plugins.failures() == {("plugin:invoices",): 0, (f"plugin:{name}",): 1}
    assert (plugins.processes[1].pid == 0) is is_ended


@pytest.mark.parametrize("name", ["endless", "million"])
async def test_a_plugin_of_too_many_series_has_those_of_its_budget_and_an_overflow(plugins: Plugins, name: str) -> None:
    await plugins.add(name).ask()
    told = await plugins.told(f"{name}_x", "name")
    assert len(told) == FAMILY_SERIES_MAX + 1
    assert ("overflow",) in told


async def test_of_a_plugin_with_a_forbidden_label_only_that_family_is_missing(plugins: Plugins) -> None:
    await plugins.add("forbidden").ask()
    assert await plugins.told("forbidden_x") == {}
    assert await plugins.told("forbidden_y", "kind") == {("1",): 1}
    assert await plugins.failures() == {("plugin:forbidden",): 1}


async def test_what_a_plugin_prints_is_no_answer(plugins: Plugins) -> None:
    printing = plugins.add("printing")
    for _ in range(2):
        await printing.ask()
        assert await plugins.told("printing_x") == {(): len(PLANS)}


async def test_a_plugin_is_given_no_variable_that_may_hold_a_secret(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WAREHOUSE_PASSWORD", "PYMIGRATE_STORE", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "planted")
    await plugins.add("curious").ask()
    told = {name for (name,) in await plugins.told("curious_variables", "kind")}
    assert "PYTHONPATH" in told
    unasked_for = {"LC_CTYPE"}  # Python sets it for itself where no language is given
    assert told - unasked_for <= set(given_of(os.environ))
    assert not told & {"WAREHOUSE_PASSWORD", "PYMIGRATE_STORE", "AWS_SECRET_ACCESS_KEY"}


async def test_a_plugin_says_in_one_line_what_went_wrong() -> None:
    process = PluginProcess(command_of("raising"), 60.0, 60.0)
    with pytest.raises(PluginFailedError, match=r"^RuntimeError: the shop is closed$"):
        await process.ask(b"[]")
    await process.close()


class Enough(Exception):
    """The clock has been slept on as often as the test wants."""


class JumpingClock(ManualClock):
    """Whoever sleeps finds that the time has come."""

    def __init__(self, sleeps_max: int) -> None:
        super().__init__()
        self.slept: list[float] = []
        self._sleeps_max = sleeps_max

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        self.slept.append(seconds)
        if len(self.slept) >= self._sleeps_max:
            raise Enough


async def test_a_plugin_that_fails_is_asked_less_and_less_often_up_to_a_limit() -> None:
    clock = JumpingClock(8)
    metrics = MemoryMetrics()

    def plans() -> Sequence[PlanFigures]:
        list(metrics.collectors["plugin:shop"]())  # somebody scrapes
        return PLANS

    collector = PluginCollector("shop", PluginProcess(("false",)), metrics, clock, plans)
    with pytest.raises(Enough):
        await collector.run()
    assert clock.slept[:3] == [INTERVAL_SECONDS * 2, INTERVAL_SECONDS * 4, INTERVAL_SECONDS * 8]
    assert max(clock.slept) <= WAIT_SECONDS_MAX


async def test_a_plugin_is_not_asked_while_nobody_scrapes() -> None:
    clock = JumpingClock(1_000)
    asked: list[float] = []

    def plans() -> Sequence[PlanFigures]:
        asked.append(clock.monotonic())
        return PLANS

    collector = PluginCollector("shop", PluginProcess(("false",)), MemoryMetrics(), clock, plans)
    with pytest.raises(Enough):
        await collector.run()
    assert asked
    assert max(asked) <= FRESH_SECONDS_MAX


async def test_readings_that_are_too_old_are_told_no_more(plugins: Plugins) -> None:
    clock = ManualClock()
    process = PluginProcess(command_of("invoices"), 60.0, 60.0)
    plugins.processes.append(process)
    collector = PluginCollector("invoices", process, MemoryMetrics(), clock, lambda: PLANS)
    await collector.ask()
    clock.advance(FRESH_SECONDS_MAX)
    assert len(list(collector.read())) == 2
    clock.advance(1)
    assert list(collector.read()) == []
