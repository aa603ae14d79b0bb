"""A default that the API server writes into a Run means what nothing said means: the same next call, the same verdict, the same bounds."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.entrypoints.custom_resources import RUN
from pymigrate.engine.entrypoints.operator.run_steering import Situation, next_step
from pymigrate.engine.entrypoints.operator.run_verdicts import standing_of
from pymigrate.engine.entrypoints.operator.scaling import bounds_of
from pymigrate.v1.custom_resource_pb2 import RunSpec
from pymigrate.v1.run_pb2 import RunState
from pymigrate.v1.shape import from_data, to_json_data
from tests.random_resources import filled, schemas_of
from tests.unit.operator.declared_runs import HASH, engine_run

SCHEMA = schemas_of(RUN)["spec"]
STATES = [name.removeprefix("RUN_STATE_") for name, number in RunState.items() if number]


def defaulted(data: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """What an API server makes of it."""
    found = dict(data)
    for name, field in schema["properties"].items():
        if name not in found and "default" in field:
            found[name] = field["default"]
        elif isinstance(found.get(name), dict) and "properties" in field:
            found[name] = defaulted(found[name], field)
    return found


@given(
    seed=st.integers(0, 2**32 - 1),
    state=st.sampled_from(["", *STATES]),
    is_deleted=st.booleans(),
    is_checked=st.booleans(),
)
def test_a_run_with_defaults_is_the_run_without(seed: int, state: str, *, is_deleted: bool, is_checked: bool) -> None:
    unsaid = filled(RUN, random.Random(seed))["spec"]
    data = to_json_data(unsaid)
    said = RunSpec()
    from_data(defaulted(data, SCHEMA), said)
    assert isinstance(unsaid, RunSpec)
    steps, standings = [], []
    for spec in (unsaid, said):
        run = engine_run(state, phases={"sales": "PUBLISHED"}) if state else None
        seen = Situation(spec, run, plan_hash=HASH, is_deleted=is_deleted, has_finalizer=True, is_checked=is_checked)
        steps.append(next_step(seen))
        standings.append(standing_of(seen, steps[-1]))
    assert steps[0] == steps[1]
    assert standings[0] == standings[1]
    assert bounds_of(unsaid.scaling) == bounds_of(said.scaling)


def test_the_values_that_are_written_are_defaults() -> None:
    """What the property above goes over."""
    given_all = defaulted({"plan": "p", "scaling": {"lanesMax": 4}}, SCHEMA)
    assert set(given_all) == {"plan", "approvalPolicy", "deletionPolicy", "lanes", "scaling"}
    assert len(given_all["scaling"]) == 5
