"""What is not set and what is empty are the same to the engine: neither an import nor a configuration that says so is a change."""

from typing import Any

import pytest
from tf.gen import tfplugin_pb2 as pb

from pymigrate.provider.contract import to_state
from pymigrate.provider.resources.alert_rule import AlertRuleResource
from pymigrate.v1 import notification_pb2
from tests.unit.provider.schemas import full, planned, refused, served

KIND = "pymigrate_alert_rule"
PROD = "environments/prod"
OWN: dict[str, Any] = {"environment": PROD, "alert_rule_id": "failures"}
MADE = {"name": f"{PROD}/alertRules/failures", "uid": "1"}
EMPTY: dict[str, Any] = {"order": 0, "continues": False, "template": "", "group_by": [], "labels": {}}


def imported(**fields: Any) -> dict[str, Any]:
    """The state of a rule that was just imported."""
    message = notification_pb2.AlertRule(**fields)
    return full(KIND, **to_state(message, AlertRuleResource.attributes(), has_zeros=True) | OWN | MADE)


def test_an_import_tells_empty_values_where_nothing_is_set_at_every_depth() -> None:
    state = imported(match={"types": ["run.*"]})
    assert {name: state[name] for name in EMPTY} == EMPTY
    assert (state["match"]["drift_min"], state["match"]["kpi"], state["severity"]) == (0, None, None)


@pytest.mark.parametrize("written", [{}, EMPTY, {"continues": False}], ids=["not", "all", "one"])
def test_an_imported_object_fits_a_configuration_whether_it_writes_empty_values_or_not(written: dict[str, Any]) -> None:
    state = imported(match={"types": ["run.*"]})
    whole, _ = planned(KIND, state, **OWN, **written, match={"types": ["run.*"]})
    assert whole == state


def test_a_value_that_is_no_longer_written_is_not_kept_although_terraform_proposes_it() -> None:
    state = imported(order=7, match={"types": ["run.*"], "drift_min": 0.5})
    whole, _ = planned(KIND, state, **OWN, match={"types": ["run.*"]})
    assert (whole["order"], whole["match"]["drift_min"]) == (None, None)


def test_nothing_that_is_not_written_is_unknown_in_the_plan_of_a_creation() -> None:
    whole, _ = planned(KIND, None, **OWN)
    assert whole == full(KIND, **OWN, name=whole["name"], uid=whole["uid"])


def test_an_empty_text_is_not_held_to_how_a_text_must_look_where_one_may_be_left_out() -> None:
    channel = {
        "environment": PROD,
        "notification_channel_id": "mail",
        "smtp": {"host": "a", "sender": "b", "password": ""},
    }
    assert refused("pymigrate_notification_channel", **channel) == []
    assert refused("pymigrate_notification_channel", **channel | {"notification_channel_id": ""}) != []


def test_terraform_is_told_that_such_values_may_be_computed_and_of_words_and_objects_it_is_not() -> None:
    block: pb.Schema.Block = served().resource_schemas[KIND].block
    told = {attribute.name: attribute.computed for attribute in block.attributes if attribute.optional}
    assert {name for name, is_computed in told.items() if not is_computed} == {
        "match", "recipients", "digest", "escalations", "confirm_state", "severity",
    }  # fmt: skip
