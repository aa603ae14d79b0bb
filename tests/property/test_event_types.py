"""Whatever happens in a run has a type that rules may name: otherwise nobody could be told of it."""

import re

from pymigrate.engine.application.event_types import EVENT_TYPES
from tests.property.simulated_runs import traces


def test_everything_that_happens_in_runs_has_a_type_that_rules_may_name() -> None:
    happened = {each for trace in traces(range(60)) for each in re.findall(r"'([a-z_]+\.[a-z_]+)'", trace)}
    assert {"run.failed", "phase.published", "lane.done"} <= happened
    assert happened <= EVENT_TYPES
