"""Messages beyond the size at which gRPC stops by itself, through the provider's calls and an engine on a socket."""

from typing import Any

import pytest
from tf.gen import tfplugin_pb2 as pb
from tf.utils import Diagnostics, to_dynamic_value

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.reaching import MESSAGE_BYTES_MAX
from pymigrate.provider.resources.phase import PhaseResource
from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.provider.sdk.states import complete, read_state
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2
from tests.integration.engine.served import ServedEngine

PLAN = "environments/prod/plans/warehouse"
DATASETS = 2_000
TYPE = "pymigrate_phase"


@pytest.fixture
def servicer(served: ServedEngine, client: Client) -> Servicer:
    """The provider's service, of an engine that has a plan and two connections."""
    options = client.options
    client.environments.CreateEnvironment(environment_pb2.CreateEnvironmentRequest(environment_id="prod"), **options)
    department = environment_pb2.Department(owner="Sales")
    client.environments.CreateDepartment(
        environment_pb2.CreateDepartmentRequest(
            parent="environments/prod", department_id="sales", department=department
        ),
        **options,
    )
    for name, path in (("source", "/srv/source.db"), ("target", "/srv/target.db")):
        connection = connection_pb2.Connection()
        connection.sqlite.path = path
        client.connections.CreateConnection(
            connection_pb2.CreateConnectionRequest(
                parent="environments/prod", connection_id=name, connection=connection
            ),
            **options,
        )
    client.plans.CreatePlan(
        plan_pb2.CreatePlanRequest(parent="environments/prod", plan_id="warehouse", plan=plan_pb2.Plan()),
        **options,
    )
    provider = PymigrateProvider()
    provider.configure_provider(Diagnostics(), {"home": str(served.home)})
    return Servicer(provider)


def phase(condition_bytes: int) -> Any:
    """A phase of many datasets, each with a condition of that length."""
    condition = "a <> 'x'".ljust(condition_bytes - 1) + "\n"
    datasets = {
        f"d{at}": {
            "source": {"connection": "source", "relation": f"t{at}"},
            "target": {"connection": "target", "relation": f"t{at}"},
            "key": ["id"],
            "transforms": [{"filter": {"condition": condition}}],
        }
        for at in range(DATASETS)
    }
    attributes = PhaseResource.attributes()
    told = {"plan": PLAN, "phase_id": "sales", "department": "sales", "datasets": datasets}
    return to_dynamic_value(complete(attributes, told))


def test_a_phase_beyond_sixteen_megabytes_is_made_and_read(servicer: Servicer) -> None:
    wanted = phase(9_500)
    made = servicer.ApplyResourceChange(
        pb.ApplyResourceChange.Request(
            type_name=TYPE, prior_state=to_dynamic_value(None), planned_state=wanted, config=wanted
        ),
        None,
    )
    assert [each.summary + each.detail for each in made.diagnostics] == []
    read = servicer.ReadResource(pb.ReadResource.Request(type_name=TYPE, current_state=made.new_state), None)
    state = read_state(PhaseResource.attributes(), read.new_state)
    assert state is not None
    assert len(state["datasets"]) == DATASETS
    assert 16 << 20 < len(read.new_state.msgpack) < MESSAGE_BYTES_MAX


def test_a_phase_that_no_message_holds_is_refused_with_what_to_do(servicer: Servicer) -> None:
    wanted = phase(35_000)
    answer = servicer.ApplyResourceChange(
        pb.ApplyResourceChange.Request(
            type_name=TYPE, prior_state=to_dynamic_value(None), planned_state=wanted, config=wanted
        ),
        None,
    )
    (refusal,) = answer.diagnostics
    assert "more than 64 MB" in refusal.detail
    assert "divide its datasets among several phases" in refusal.detail
