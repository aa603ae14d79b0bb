"""Answers as JSON: what the contract says, in the one shape, and nothing that JSON does not have."""

import math

import orjson
import pytest

from pymigrate.engine.entrypoints.rest.answers import PARTS_KEPT_MAX, PARTS_MIN, Writer, encoded
from pymigrate.v1 import impact_pb2, kpi_pb2, plan_pb2
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


def dashboard(plans: int, rows: int) -> kpi_pb2.Dashboard:
    """A dashboard of so many plans, the first of which has moved so many rows."""
    answer = kpi_pb2.Dashboard()
    for number in range(plans):
        status = answer.plans.add(plan=f"environments/e/plans/p{number}")
        status.kpis.rows = rows if number == 0 else 7
    answer.risks.add(plan="environments/e/plans/p0", reason="RUN_FAILED")
    return answer


def test_a_long_list_is_written_as_a_short_one_is() -> None:
    writer = Writer()
    for plans in (PARTS_MIN - 1, PARTS_MIN, 3 * PARTS_MIN):
        answer = dashboard(plans, 1)
        assert orjson.loads(writer.encoded(answer)) == orjson.loads(encoded(answer))


def test_what_changed_in_a_long_list_is_written_as_it_is_now() -> None:
    writer = Writer()
    for rows in (1, 2, 1, 3):
        answer = dashboard(PARTS_MIN, rows)
        assert orjson.loads(writer.encoded(answer)) == orjson.loads(encoded(answer))


def test_a_list_that_is_longer_than_what_is_kept_is_whole() -> None:
    answer = dashboard(PARTS_KEPT_MAX + 10, 1)
    assert orjson.loads(Writer().encoded(answer)) == orjson.loads(encoded(answer))


def test_parts_of_one_content_and_different_kinds_are_told_apart() -> None:
    answer, writer = kpi_pb2.Dashboard(), Writer()
    for number in range(PARTS_MIN):
        answer.plans.add(plan=f"p{number}")
        answer.risks.add(plan=f"p{number}")
        answer.milestones.add(plan=f"p{number}", subject="s")
    assert orjson.loads(writer.encoded(answer)) == orjson.loads(encoded(answer))
