"""The admission webhook of a real API server, asking a served engine: what `kubectl apply` is told at once, and what it is never told."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pymigrate.engine.entrypoints.custom_resources import GROUP, VERSION
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.operator.admission import Admission
from pymigrate.engine.entrypoints.operator.admission_server import AdmissionServer
from pymigrate.engine.entrypoints.operator.engine import EngineCalls
from pymigrate.engine.entrypoints.operator.objects import EnvironmentRule
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate
from pymigrate.v1.environment_pb2 import CreateEnvironmentRequest, ListEnvironmentsRequest
from tests.certificates import CertificateAuthority, CertificateFiles
from tests.integration.engine.served import ServedEngine, ask
from tests.kubectl import Kubectl, KubectlRefused
from tests.kubernetes_example import EXAMPLE, found, rendered

NAMESPACE = "shop"
WEBHOOK = "pymigrate"
LOOKS_MAX = 100


class Webhook:
    """The webhook in the loop of a served engine, and the API server's knowledge of it."""

    def __init__(self, served: ServedEngine, kubectl: Kubectl, files: CertificateFiles) -> None:
        self.files = files
        self._served = served
        self._kubectl = kubectl
        self._calls = served.do(self._opened())
        self._port = served.do(self._server.start("127.0.0.1:0"))

    def register(self, failure_policy: str) -> None:
        """Has the API server ask it, from the next request on that is answered otherwise."""
        [shown] = found(rendered(EXAMPLE / "overlays" / "prod"), "ValidatingWebhookConfiguration")
        [webhook] = shown["webhooks"]
        reached = {
            "url": f"https://127.0.0.1:{self._port}{webhook['clientConfig']['service']['path']}",
            "caBundle": base64.b64encode(self.files.authorities.read_bytes()).decode(),
        }
        configuration = {
            **shown,
            "webhooks": [{**webhook, "clientConfig": reached, "failurePolicy": failure_policy}],
        }
        self._kubectl.apply(configuration)

    def close(self) -> None:
        self._kubectl("delete", "validatingwebhookconfiguration", WEBHOOK, "--ignore-not-found")
        self._served.do(self._server.stop())
        self._served.do(self._calls.close())

    async def _opened(self) -> EngineCalls:
        calls = EngineCalls(EngineAccess.of(self._served.home, {}))
        admission = Admission(calls, EnvironmentRule.NAMESPACE)
        self._server = AdmissionServer(admission, ServerCertificate(self.files.certificate, self.files.key))
        return calls


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedEngine]:
    engine = ServedEngine(tmp_path)
    engine.start()
    yield engine
    engine.stop()
    engine.close()


@pytest.fixture
def webhook(served: ServedEngine, kubectl: Kubectl, tmp_path: Path) -> Iterator[Webhook]:
    if NAMESPACE not in kubectl("get", "namespaces", "-o", "name"):
        kubectl("create", "namespace", NAMESPACE)
    made = Webhook(served, kubectl, CertificateAuthority().issue(tmp_path / "certificate"))
    made.register("Fail")
    until(lambda: refusal(kubectl, resource("Environment", {}, "elsewhere")) != "")
    yield made
    made.close()
    kubectl("delete", "pymigrate", "--all", "--wait=false", "--namespace", NAMESPACE)


@pytest.fixture
def environment(served: ServedEngine, webhook: Webhook) -> str:
    """What the namespace is to the engine."""
    del webhook
    client = served.client("kubernetes")
    ask(client, client.environments.CreateEnvironment, CreateEnvironmentRequest(environment_id=NAMESPACE))
    client.channel.close()
    return f"environments/{NAMESPACE}"


def until(holds: Callable[[], bool]) -> None:
    """The API server is told of what it is to ask, and heeds it a moment later; each look takes it a while."""
    assert any(holds() for _ in range(LOOKS_MAX))


def resource(kind: str, spec: Any, name: str = "sales") -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": metadata, "spec": spec}


def refusal(kubectl: Kubectl, wanted: dict[str, Any]) -> str:
    """What a dry run of applying it is told; empty where nothing stands against it."""
    try:
        kubectl("apply", "--dry-run=server", "-f", "-", given=json.dumps(wanted))
    except KubectlRefused as error:
        return str(error)
    return ""


def stored(served: ServedEngine) -> list[str]:
    """The environments that the engine has."""
    client = served.client()
    answer = ask(client, client.environments.ListEnvironments, ListEnvironmentsRequest())
    client.channel.close()
    return [found.name for found in answer.environments]


@pytest.mark.usefixtures("environment")
def test_whoever_applies_what_is_wrong_is_told_where_at_once(kubectl: Kubectl, served: ServedEngine) -> None:
    wrong = resource("Connection", {"sqlite": {"path": "relative.db"}}, "legacy")
    with pytest.raises(KubectlRefused, match=r"spec\.sqlite\.path: "):
        kubectl.apply(wrong)
    assert "spec.sqlite.path" in refusal(kubectl, wrong)
    kubectl.apply(resource("Connection", {"sqlite": {"path": "/legacy.db"}}, "legacy"))


def test_objects_come_in_any_order_and_nothing_of_them_is_stored_by_asking(
    kubectl: Kubectl, webhook: Webhook, served: ServedEngine
) -> None:
    del webhook
    endpoints = {"connection": "legacy", "relation": "a"}
    dataset = {"source": endpoints, "target": endpoints | {"relation": "b"}}
    plan = resource(
        "Plan", {"phases": {"sales": {"department": "sales", "datasets": {"orders": dataset}}}}, "warehouse"
    )
    kubectl.apply(plan)
    assert "Warning: " in kubectl.warned
    assert "environments/shop" in kubectl.warned
    kubectl.apply(resource("Department", {"owner": "Ann"}), resource("Environment", {}, NAMESPACE))
    assert stored(served) == []


@pytest.mark.usefixtures("environment")
def test_what_tells_an_accepted_run_from_others_stays(kubectl: Kubectl, served: ServedEngine) -> None:
    kubectl.apply(resource("Run", {"plan": "warehouse"}, "first"))
    kubectl.apply(resource("Run", {"plan": "other"}, "first"))
    status = {"status": {"name": f"environments/{NAMESPACE}/plans/other/runs/k-1", "lanes": {"running": 1}}}
    kubectl("patch", "run", "first", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", json.dumps(status))
    with pytest.raises(KubectlRefused, match=r"spec\.plan: can't be changed once the run is accepted"):
        kubectl.apply(resource("Run", {"plan": "warehouse"}, "first"))
    kubectl("scale", "-n", NAMESPACE, "run.pymigrate.io/first", "--replicas=2")
    kubectl.apply(resource("Run", {"plan": "other", "suspend": True}, "first"))


@pytest.mark.usefixtures("environment")
def test_an_engine_that_is_away_is_for_the_failure_policy_and_stands_in_no_deletion_s_way(
    kubectl: Kubectl, webhook: Webhook, served: ServedEngine
) -> None:
    made = resource("Department", {"owner": "Ann"})
    made["metadata"]["finalizers"] = ["pymigrate.io/engine"]
    kubectl.apply(made)
    served.stop()
    changed = resource("Department", {"owner": "Bob"})
    assert "it can't be told now whether the engine takes this" in refusal(kubectl, changed)
    kubectl("delete", "department.pymigrate.io/sales", "-n", NAMESPACE, "--wait=false")
    patch = json.dumps({"metadata": {"finalizers": None}})
    kubectl("patch", "department.pymigrate.io/sales", "-n", NAMESPACE, "--type=merge", "-p", patch)
    kubectl("wait", "--for=delete", "department.pymigrate.io/sales", "-n", NAMESPACE, "--timeout=20s")
    webhook.register("Ignore")
    until(lambda: refusal(kubectl, changed) == "")
    served.start()


@pytest.mark.usefixtures("environment")
def test_a_certificate_that_is_renewed_is_shown_without_a_restart(
    kubectl: Kubectl, webhook: Webhook, served: ServedEngine
) -> None:
    authority = CertificateAuthority("Another authority")
    authority.issue(webhook.files.folder)
    webhook.register("Fail")
    department = resource("Department", {"owner": "Ann"})
    until(lambda: refusal(kubectl, department) == "")
    assert refusal(kubectl, resource("Environment", {}, "elsewhere")) != ""
