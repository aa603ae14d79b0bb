"""Transforms in HCL are the contract's: what is planned becomes the message, and the message the same state."""

from typing import Any

from pymigrate.provider.contract import to_message, to_state
from pymigrate.provider.resources.phase import PhaseResource
from pymigrate.v1 import plan_pb2

ATTRIBUTES = PhaseResource.attributes()
KINDS = plan_pb2.Transform.DESCRIPTOR.oneofs_by_name["kind"].fields


def completed(transform: dict[str, Any]) -> dict[str, Any]:
    """As Terraform plans it: every attribute is there, and null where it was not said."""
    nested = ATTRIBUTES["datasets"].nested["transforms"].nested
    assert set(nested) == {kind.name for kind in KINDS}
    kinds = dict.fromkeys(nested)
    for name, fields in transform.items():
        kinds[name] = {**dict.fromkeys(nested[name].nested), **fields}
    return kinds


def test_transforms_in_order_and_a_quarantine_go_both_ways() -> None:
    transforms = [
        completed({"rename": {"columns": {"id": "number"}}}),
        completed({"filter": {"condition": "number > 1"}}),
        completed({"deduplicate": {}}),
        completed({"mask": {"columns": {"email": {"method": "tokenise", "text": None}}, "key": "env://KEY"}}),
    ]
    dataset = {
        **dict.fromkeys(ATTRIBUTES["datasets"].nested),
        "transforms": transforms,
        "quarantine": {"rows_max": 5, "share_max": 0.5, "relation": None},
    }
    planned = {"department": "sales", "datasets": {"people": dataset}}
    message = plan_pb2.Phase()
    to_message(planned, message, ATTRIBUTES)
    made = message.datasets["people"]
    assert [transform.WhichOneof("kind") for transform in made.transforms] == [
        "rename",
        "filter",
        "deduplicate",
        "mask",
    ]
    assert made.transforms[3].mask.columns["email"].method == plan_pb2.MASK_METHOD_TOKENISE
    state = to_state(message, ATTRIBUTES)["datasets"]["people"]
    assert state["transforms"] == transforms
    assert state["quarantine"] == dataset["quarantine"]
