"""Configurations that nobody thought of never break the provider: what can't be is a diagnostic, and what can be is applied as it was
planned. PYMIGRATE_TEST_LONG=1 tries many more of them."""

import itertools
import os
from collections.abc import Iterator, Set
from random import Random

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.sdk.resource import Resource
from tests.conftest import LONG
from tests.e2e.acceptance import Stage, held_provider
from tests.e2e.engines import EngineProcess, running_engine
from tests.e2e.hcl import UNKNOWNS, Writer, quoted

NUMBERS = itertools.count(1)
RESOURCES: dict[str, type[Resource]] = {
    f"pymigrate_{each.get_name()}": each for each in PymigrateProvider().get_resources()
}
# What Terraform and the provider say where the provider is at fault.
FAULTS = (
    "The provider failed",
    "defect of the provider",
    "Provider produced",
    "produced an unexpected",
    "Plugin did not respond",
    "Failed to load plugin",
    "rpc error",
    "panic:",
    "crash",
    "bug in the provider",
    "can't be decoded",
)
TRIED = settings(
    max_examples=300 if os.environ.get(LONG) == "1" else 8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SOME = st.sets(st.sampled_from(sorted(RESOURCES)), min_size=1)
SEEDS = st.integers(0, 2**32 - 1)
# What fuzzed resources lie under, so that plans and applies reach the engine.
GROUND = """
resource "pymigrate_environment" "ground" { environment_id = "%(id)s" }
resource "pymigrate_plan" "ground" {
  environment = pymigrate_environment.ground.name
  plan_id     = "ground"
}
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """One engine for every configuration."""
    with running_engine(tmp_path_factory.mktemp("engine") / "home") as process:
        yield process


@pytest.fixture(scope="module")
def stages(
    require_terraform: str, engine: EngineProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Iterator[Stage]]:
    """Empty working directories, whose provider is one process for all of them."""
    with held_provider(engine) as attached:
        yield (
            Stage(require_terraform, tmp_path_factory.mktemp("stage") / "work", engine, attached, f"fuzzed-{number}")
            for number in NUMBERS
        )


def configuration(stage: Stage, types: Set[str], seed: int, *, is_wild: bool) -> str:
    """A configuration of these types of resources."""
    writer = Writer(Random(seed), is_wild=is_wild)
    text = UNKNOWNS + GROUND % {"id": stage.environment_id}
    for type_name in sorted(types):
        attributes = RESOURCES[type_name].attributes()
        own = {f"{type_name.removeprefix('pymigrate_')}_id": quoted(f"{stage.environment_id}-x")}
        places = {"environment": "pymigrate_environment.ground.name", "plan": "pymigrate_plan.ground.name", **own}
        given = {name: value for name, value in places.items() if name in attributes and (not is_wild or seed % 3)}
        # A run that is waited for is a test of its own.
        given |= {"run": quoted("environments/nowhere/plans/none/runs/none")} if "run" in attributes else {}
        text += writer.block(type_name, attributes, given)
    return text


def hold(stage: Stage, *arguments: str) -> int:
    """Runs a command and holds the provider to being at no fault; the exit code."""
    done = stage.run(*arguments)
    said = " ".join(done.output.replace("│", " ").split())
    assert done.code in {0, 1, 2}, done.output
    assert not [fault for fault in FAULTS if fault in said], done.output
    return done.code


@TRIED
@given(SOME, SEEDS)
def test_whatever_is_written_is_planned_or_refused(stages: Iterator[Stage], types: Set[str], seed: int) -> None:
    stage = next(stages)
    text = configuration(stage, types, seed, is_wild=True)
    note(text)
    stage.write(text)
    hold(stage, "plan")


@TRIED
@given(st.sampled_from(sorted(RESOURCES)), SEEDS)
def test_what_is_of_the_right_types_is_applied_as_planned_or_refused(
    stages: Iterator[Stage], type_name: str, seed: int
) -> None:
    stage = next(stages)
    text = configuration(stage, {type_name}, seed, is_wild=False)
    note(text)
    stage.write(text)
    if hold(stage, "apply", "-auto-approve") == 0:
        assert hold(stage, "plan", "-detailed-exitcode") == 0
        hold(stage, "destroy", "-auto-approve")
