"""What a caller learns of places that it may not read: by kept answers, refusals, the page of metrics, and what would be pruned."""

from collections.abc import Iterator

import grpc
import httpx
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.metrics.prometheus import PrometheusMetrics
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.v1 import definition_pb2, environment_pb2, kpi_pb2
from tests.integration.engine.served import SECONDS_MAX, ask
from tests.security.test_role_bindings import DENIED, Scene, scene

__all__ = ["scene"]

DEPARTMENT = """
apiVersion: pymigrate.io/v1alpha1
kind: Department
metadata: {name: sales, environment: e}
spec: {}
"""

ENVIRONMENT = """
apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {name: e}
spec: {bases: ["BASE"]}
"""


def refusal(scene: Scene, token: str, call: object, request: object) -> grpc.RpcError:
    """How a call ends that is not let in."""
    metadata = (("authorization", f"Bearer {token}"),)
    with pytest.raises(grpc.RpcError) as raised:
        call(request, metadata=metadata, timeout=SECONDS_MAX)  # type: ignore[operator]  # a stub's method
    return raised.value


def applied(**fields: object) -> definition_pb2.ApplyDefinitionsRequest:
    """What declares a department of `e`."""
    files = [definition_pb2.DefinitionFile(path="sales.yaml", content=DEPARTMENT.encode())]
    return definition_pb2.ApplyDefinitionsRequest(files=files, **fields)  # type: ignore[arg-type]  # its own fields


def test_an_answer_that_is_kept_is_told_to_the_principal_alone_that_got_it(scene: Scene) -> None:
    tokens = [scene.token("first"), scene.token("second")]
    scene.bind("editor", "service/*", environment="environments/e")
    changes = []
    for token in (tokens[0], tokens[0], tokens[1]):
        metadata = (("authorization", f"Bearer {token}"),)
        apply = scene.admin.definitions.ApplyDefinitions
        answer = apply(applied(request_id="1"), metadata=metadata, timeout=SECONDS_MAX)
        changes.append([each.name for each in answer.changes])
    assert changes == [["environments/e/departments/sales"]] * 2 + [[]]


def test_nobody_takes_a_request_id_away_from_another_principal(scene: Scene) -> None:
    taking, taken = scene.token("taking"), scene.token("taken")
    scene.bind("editor", "service/*", environment="environments/e")
    for token, department in ((taking, "sales"), (taken, "finance")):
        request = environment_pb2.CreateDepartmentRequest(
            parent="environments/e", department_id=department, request_id="next"
        )
        metadata = (("authorization", f"Bearer {token}"),)
        made = scene.admin.environments.CreateDepartment(request, metadata=metadata, timeout=SECONDS_MAX)
        assert made.name == f"environments/e/departments/{department}"


@pytest.mark.parametrize("name", ["environments/e/othe", "environments/e/plans/othe"])
def test_a_refusal_names_no_environment_that_its_caller_may_not_read(scene: Scene, name: str) -> None:
    token = scene.token("ci")
    dashboard = scene.admin.kpis.GetDashboard
    request = kpi_pb2.GetDashboardRequest(environment=name)
    binding = scene.bind("viewer", "service/ci", environment="environments/e")
    error = refusal(scene, token, dashboard, request)
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, f"there is no {name}")
    scene.unbind(binding)
    scene.bind("viewer", "service/ci")
    assert "`other`" in str(refusal(scene, token, dashboard, request).details())


@pytest.mark.parametrize("base", ["e/../other", "e/", "-", ""])
def test_a_base_that_is_no_environments_name_tells_an_admin_of_one_environment_of_no_other(
    scene: Scene, base: str
) -> None:
    token = scene.token("ci")
    scene.bind("admin", "service/ci", environment="environments/e")
    wanted = environment_pb2.Environment(name="environments/e", bases=[base])
    update = environment_pb2.UpdateEnvironmentRequest(environment=wanted)
    error = refusal(scene, token, scene.admin.environments.UpdateEnvironment, update)
    assert (error.code(), "other`" in str(error.details())) == (DENIED, False)
    document = ENVIRONMENT.replace("BASE", base).encode()
    file = definition_pb2.DefinitionFile(path="e.yaml", content=document)
    request = definition_pb2.ApplyDefinitionsRequest(files=[file])
    error = refusal(scene, token, scene.admin.definitions.ApplyDefinitions, request)
    assert (error.code(), "other`" in str(error.details())) == (DENIED, False)


@pytest.mark.parametrize("is_dry", [False, True])
def test_what_would_be_pruned_is_told_to_nobody_who_declares_elsewhere(scene: Scene, is_dry: bool) -> None:
    hidden = environment_pb2.CreateDepartmentRequest(parent="environments/other", department_id="hidden")
    ask(scene.admin, scene.admin.environments.CreateDepartment, hidden)
    token = scene.token("ci")
    scene.bind("editor", "service/ci", environment="environments/e")
    request = applied(environment="other", prune_policy=definition_pb2.PRUNE_POLICY_DELETE, validate_only=is_dry)
    error = refusal(scene, token, scene.admin.definitions.ApplyDefinitions, request)
    assert error.code() is DENIED
    assert "hidden" not in str(error.details())


@pytest.fixture
def page(scene: Scene) -> Iterator[httpx.Client]:
    """The page of metrics of the same engine."""
    metrics = PrometheusMetrics(SystemClock())
    instruments = Instruments(metrics, metrics, SystemClock())
    grants_of = scene.served.bindings.grants_of
    server = RestServer(scene.served.servicers, scene.served.bearers, instruments=instruments, grants_of=grants_of)
    port = scene.served.do(server.start("127.0.0.1:0"))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=SECONDS_MAX) as http:
        yield http
    scene.served.do(server.stop())


def test_the_page_of_metrics_tells_of_every_environment_and_is_for_whoever_may_read_them_all(
    scene: Scene, page: httpx.Client
) -> None:
    shown = {"authorization": f"Bearer {scene.token('exporter')}"}
    assert page.get("/metrics", headers=shown).status_code == httpx.codes.FORBIDDEN
    scene.bind("admin", "service/exporter", environment="environments/e")
    assert page.get("/metrics", headers=shown).status_code == httpx.codes.FORBIDDEN
    scene.bind("viewer", "service/exporter")
    assert page.get("/metrics", headers=shown).status_code == httpx.codes.OK
