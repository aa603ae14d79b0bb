"""Departments in HCL are the contract's: what is agreed of systems becomes the message, and the message the same state."""

from pymigrate.provider.contract import to_message, to_state
from pymigrate.provider.resources.department import DepartmentResource
from pymigrate.provider.resources.phase import PhaseResource
from pymigrate.v1 import environment_pb2, plan_pb2


def test_what_is_agreed_of_systems_goes_both_ways() -> None:
    attributes = DepartmentResource.attributes()
    crm = {
        **dict.fromkeys(attributes["systems"].nested),
        "connection": "legacy",
        "criticality": "high",
        "rto_seconds": 3_600,
        "availability_percent": 99.9,
        "dependencies": ["finance/ledger"],
    }
    message = environment_pb2.Department()
    to_message({"read_only_cost_share": 0.25, "systems": {"crm": crm}}, message, attributes)
    assert message.systems["crm"].criticality == environment_pb2.CRITICALITY_HIGH
    state = to_state(message, attributes)
    assert state["systems"] == {"crm": crm}
    assert state["read_only_cost_share"] == 0.25


def test_declared_figures_of_a_dataset_go_both_ways() -> None:
    attributes = PhaseResource.attributes()
    figures = {"rows": 1_000, "bytes": 2_000_000, "bytes_per_second": 5e6}
    dataset = {**dict.fromkeys(attributes["datasets"].nested), "declared": figures}
    message = plan_pb2.Phase()
    to_message({"department": "sales", "datasets": {"people": dataset}}, message, attributes)
    assert message.datasets["people"].declared.bytes_per_second == 5e6
    assert to_state(message, attributes)["datasets"]["people"]["declared"] == figures
