"""Answers as JSON: what the contract says, in the one shape, and nothing that JSON does not have."""

import math

import orjson
import pytest

from pymigrate.engine.entrypoints.rest.answers import encoded
from pymigrate.v1 import impact_pb2, plan_pb2
from pymigrate.v1.shape import from_data


def test_an_answer_is_read_back_as_it_was_sent() -> None:
    sent = plan_pb2.Plan(name="environments/e/plans/p", lanes_max=3)
    sent.create_time.FromJsonString("2026-01-31T12:00:00.5Z")
    sent.phases["a"].downtime_policy = plan_pb2.DOWNTIME_POLICY_READ_ONLY
    sent.phases["a"].datasets["d"].declared.rows = 2**53 + 1
    data = orjson.loads(encoded(sent))
    assert data["phases"]["a"]["datasets"]["d"]["declared"]["rows"] == 2**53 + 1
    read = plan_pb2.Plan()
    from_data(data, read)
    assert read == sent


@pytest.mark.parametrize(("number", "word"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_a_number_that_json_does_not_have_is_a_word(number: float, word: str) -> None:
    answer = impact_pb2.CompareImpactResponse()
    answer.differences.add(value=number)
    assert orjson.loads(encoded(answer)) == {"differences": [{"value": word}]}
