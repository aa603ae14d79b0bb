"""What the API server may store: what the engine would take, or what waits for another object alone."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from pymigrate.engine.domain.errors import EngineUnavailable, FailedPrecondition
from pymigrate.engine.entrypoints.operator.admission import (
    WARNING_CHARACTERS_MAX,
    WARNINGS_MAX,
    Admission,
    Admitted,
    Denied,
)
from pymigrate.engine.entrypoints.operator.admission_server import BODY_BYTES_MAX, REVIEWS_MAX, AdmissionServer
from pymigrate.engine.entrypoints.operator.objects import EnvironmentRule
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate
from pymigrate.v1.definition_pb2 import ApplyDefinitionsResponse, DefinitionProblem
from tests.certificates import CertificateAuthority

HASH = "a" * 64
HUNG_SECONDS = 20.0
ACCEPTED = {"name": "environments/shop/plans/warehouse/runs/k-1"}


class ScriptedEngine:
    """Says of every document what a test has it say, and keeps what it was asked."""

    def __init__(self, *problems: DefinitionProblem, raises: Exception | None = None) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.is_silent = False
        self.is_busy = asyncio.Event()
        self._answer = ApplyDefinitionsResponse(problems=problems)
        self._raises = raises

    async def check(self, document: Mapping[str, Any]) -> ApplyDefinitionsResponse:
        self.asked.append(document)
        if len(self.asked) == REVIEWS_MAX:
            self.is_busy.set()
        if self.is_silent:
            await asyncio.Event().wait()
        if self._raises is not None:
            raise self._raises
        return self._answer


def resource(spec: Any, *, name: str = "sales", namespace: str = "shop", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": "u", **more.pop("metadata", {})}
    return {"metadata": metadata, "spec": spec, **more}


def request(word: str, new: Any, old: Any = None, **more: Any) -> dict[str, Any]:
    operation = "CREATE" if old is None else "UPDATE"
    return {"uid": "r", "kind": {"kind": word}, "operation": operation, "object": new, "oldObject": old, **more}


def admission(engine: ScriptedEngine | None = None, rule: EnvironmentRule = EnvironmentRule.NAMESPACE) -> Admission:
    return Admission(engine or ScriptedEngine(), rule)


async def test_the_engine_is_asked_about_the_one_object_in_its_namespace_s_environment() -> None:
    engine = ScriptedEngine()
    assert await admission(engine).decide(request("Department", resource({"owner": "Ann"}))) == Admitted()
    assert engine.asked == [
        {
            "apiVersion": "pymigrate.io/v1alpha1",
            "kind": "Department",
            "metadata": {"name": "sales", "environment": "shop"},
            "spec": {"owner": "Ann"},
        }
    ]


async def test_what_the_engine_calls_wrong_is_denied_with_its_place() -> None:
    engine = ScriptedEngine(DefinitionProblem(path="spec.owner", description="is too long", rule="invalid"))
    assert await admission(engine).decide(request("Department", resource({}))) == Denied("spec.owner: is too long")


async def test_what_waits_for_another_object_is_admitted_with_a_warning() -> None:
    missing = DefinitionProblem(path="spec.phases.a.department", description="there is no department", is_missing=True)
    decision = await admission(ScriptedEngine(missing)).decide(request("Plan", resource({})))
    assert decision == Admitted(("spec.phases.a.department: there is no department",))


async def test_what_is_wrong_beside_what_is_missing_is_denied() -> None:
    missing = DefinitionProblem(path="spec.a", description="is not there", is_missing=True)
    wrong = DefinitionProblem(path="spec.b", description="is wrong")
    decision = await admission(ScriptedEngine(missing, wrong)).decide(request("Plan", resource({})))
    assert decision == Denied("spec.b: is wrong", ("spec.a: is not there",))


async def test_warnings_are_bounded() -> None:
    missing = [DefinitionProblem(path=f"spec.p{at}", description="x" * 300, is_missing=True) for at in range(50)]
    decision = await admission(ScriptedEngine(*missing)).decide(request("Plan", resource({})))
    assert len(decision.warnings) == WARNINGS_MAX
    assert max(map(len, decision.warnings)) == WARNING_CHARACTERS_MAX


async def test_what_the_engine_refuses_as_a_call_is_denied() -> None:
    engine = ScriptedEngine(raises=FailedPrecondition("the environment is frozen"))
    assert await admission(engine).decide(request("Department", resource({}))) == Denied("the environment is frozen")


async def test_an_engine_that_is_away_decides_nothing() -> None:
    with pytest.raises(EngineUnavailable):
        await admission(ScriptedEngine(raises=EngineUnavailable("away"))).decide(request("Department", resource({})))


SUSPENDED = {"annotations": {"pymigrate.io/suspend": "true"}}
NOT_ASKED = {
    "a deletion": request("Department", None, resource({})) | {"operation": "DELETE"},
    "a subresource": request("Department", resource({"owner": "Bob"}), resource({})) | {"subResource": "status"},
    "what is being deleted": request(
        "Department", resource({"owner": "Bob"}, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), resource({})
    ),
    "a finalizer": request("Department", resource({}, metadata={"finalizers": ["pymigrate.io/engine"]}), resource({})),
    "what is left alone": request("Department", resource({}, metadata=SUSPENDED)),
    "what is another's": request("Pod", resource({})),
}


@pytest.mark.parametrize("asked", NOT_ASKED.values(), ids=NOT_ASKED.keys())
async def test_the_engine_is_not_asked_about(asked: dict[str, Any]) -> None:
    engine = ScriptedEngine(DefinitionProblem(description="is wrong"))
    assert await admission(engine).decide(asked) == Admitted()
    assert engine.asked == []


async def test_what_is_left_alone_no_more_is_asked_about() -> None:
    engine = ScriptedEngine(DefinitionProblem(description="is wrong"))
    asked = request("Department", resource({}), resource({}, metadata=SUSPENDED))
    assert isinstance(await admission(engine).decide(asked), Denied)


async def test_fields_are_named_as_yaml_has_them() -> None:
    engine = ScriptedEngine(DefinitionProblem(path="spec.phases.sales_eu.downtime_policy", description="is wrong"))
    assert await admission(engine).decide(request("Plan", resource({}))) == Denied(
        "spec.phases.sales_eu.downtimePolicy: is wrong"
    )


async def test_another_environment_by_annotation_is_asked_about() -> None:
    engine = ScriptedEngine(DefinitionProblem(path="spec", description="is wrong"))
    moved = resource({}, metadata={"annotations": {"pymigrate.io/environment": "prod"}})
    decision = await admission(engine, EnvironmentRule.ANNOTATION).decide(request("Plan", moved, resource({})))
    assert isinstance(decision, Denied)
    assert engine.asked[0]["metadata"]["environment"] == "prod"


@pytest.mark.parametrize(
    ("word", "found", "said"),
    [
        ("Department", resource({}, name="a.b"), "metadata.name: `a.b` is no name"),
        ("Department", resource({}, namespace="1st"), "metadata.namespace: `1st` is no environment"),
        ("Environment", resource({}, name="prod"), "metadata.name: an Environment is called like its namespace"),
        ("GitSource", resource({"environment": "prod"}), "spec.environment: a GitSource is for the environment of"),
        ("GitSource", resource({}), "spec.environment: a GitSource is for the environment of"),
    ],
)
async def test_what_lies_in_the_wrong_place_is_denied_without_the_engine(word: str, found: Any, said: str) -> None:
    engine = ScriptedEngine()
    decision = await admission(engine).decide(request(word, found))
    assert isinstance(decision, Denied)
    assert decision.message.startswith(said)
    assert engine.asked == []


async def test_an_environment_lies_in_the_namespace_of_its_name() -> None:
    engine = ScriptedEngine()
    assert await admission(engine).decide(request("Environment", resource({}, name="shop"))) == Admitted()
    assert engine.asked[0]["metadata"] == {"name": "shop"}


async def test_by_annotation_an_environment_may_have_any_name() -> None:
    found = resource({}, name="prod")
    assert await admission(rule=EnvironmentRule.ANNOTATION).decide(request("Environment", found)) == Admitted()


RUN = {"plan": "warehouse", "triggers": {"month": "may"}}


@pytest.mark.parametrize("changed", [{"plan": "other"}, {"triggers": {}}])
async def test_what_tells_an_accepted_run_from_others_can_t_be_changed(changed: dict[str, Any]) -> None:
    accepted = resource(RUN, status=ACCEPTED)
    decision = await admission().decide(request("Run", resource(RUN | changed), accepted))
    assert isinstance(decision, Denied)
    assert f"spec.{next(iter(changed))}: can't be changed" in decision.message
    waiting = resource(RUN, status={"conditions": []})
    assert await admission().decide(request("Run", resource(RUN | changed), waiting)) == Admitted()


async def test_everything_else_of_an_accepted_run_is_steered_by() -> None:
    steered = RUN | {"suspend": True, "lanes": 3, "retry": "2", "cancel": True, "approvedPlanHash": HASH}
    assert await admission().decide(request("Run", resource(steered), resource(RUN, status=ACCEPTED))) == Admitted()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"triggers": {"kubernetes_run": "u"}}, "spec.triggers.kubernetes_run: is set by the operator"),
        ({"gateApprovals": [{"gate": "look", "planHash": HASH}]}, "spec.gateApprovals[0].phase: say the phase"),
        ({"scaling": {"lanesMin": 5, "lanesMax": 4}}, "spec.scaling.lanesMin: at least 5 lanes are more than"),
        ({"scaling": {"lanesMax": 4, "lagSecondsMax": 0.5}}, "spec.scaling.lagSecondsMax: is at least 1"),
        ({"scaling": {"lanesMax": 4, "latencyFactorMax": 0.5}}, "spec.scaling.latencyFactorMax: is at least 1"),
        ({"lanes": "many"}, "spec.lanes: must be a whole number"),
    ],
)
async def test_runs_that_mean_nothing_are_denied(spec: dict[str, Any], said: str) -> None:
    decision = await admission().decide(request("Run", resource({"plan": "warehouse", **spec})))
    assert isinstance(decision, Denied)
    assert decision.message.startswith(said)


async def test_a_gate_of_the_environment_needs_no_phase() -> None:
    approved = {"plan": "p", "gateApprovals": [{"phase": "", "gate": "environment", "planHash": HASH}]}
    assert await admission().decide(request("Run", resource(approved))) == Admitted()


async def test_who_takes_back_what_is_for_good_is_warned() -> None:
    before, after = resource(RUN | {"cancel": True}), resource(RUN | {"cancel": False})
    [warning] = (await admission().decide(request("Run", after, before))).warnings
    assert warning.startswith("spec.cancel: was asked for already")


class Webhook:
    """The webhook's application, as the API server posts to it."""

    def __init__(self, engine: ScriptedEngine, folder: Path, answer_seconds_max: float = 5.0) -> None:
        files = CertificateAuthority().issue(folder)
        certificate = ServerCertificate(files.certificate, files.key)
        self.server = AdmissionServer(admission(engine), certificate, answer_seconds_max=answer_seconds_max)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.server), base_url="https://operator")

    async def post(self, content: bytes) -> httpx.Response:
        return await self.client.post("/validate?timeout=10s", content=content)

    async def review(self, asked: dict[str, Any]) -> httpx.Response:
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}
        return await self.post(orjson.dumps(review))


@pytest.fixture
async def engine() -> ScriptedEngine:
    return ScriptedEngine(DefinitionProblem(path="spec.owner", description="is too long"))


@pytest.fixture
async def webhook(engine: ScriptedEngine, tmp_path: Path) -> AsyncIterator[Webhook]:
    made = Webhook(engine, tmp_path, answer_seconds_max=0.01)
    yield made
    await made.client.aclose()


async def test_a_denial_is_an_answer_with_the_request_s_uid(webhook: Webhook) -> None:
    answer = await webhook.review(request("Department", resource({})))
    assert answer.json() == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": "r",
            "allowed": False,
            "status": {"code": 422, "reason": "Invalid", "message": "spec.owner: is too long"},
        },
    }


async def test_an_engine_that_says_nothing_in_time_leaves_it_to_the_failure_policy(
    webhook: Webhook, engine: ScriptedEngine
) -> None:
    engine.is_silent = True
    async with asyncio.timeout(HUNG_SECONDS):
        answer = await webhook.review(request("Department", resource({})))
    assert answer.status_code == 503
    assert "did not answer within 0.01 s" in answer.text


async def test_more_reviews_at_once_than_are_borne_are_refused_at_once(engine: ScriptedEngine, tmp_path: Path) -> None:
    engine.is_silent = True
    webhook = Webhook(engine, tmp_path)
    waiting = [asyncio.create_task(webhook.review(request("Department", resource({})))) for _ in range(REVIEWS_MAX)]
    await engine.is_busy.wait()
    refused = await webhook.review(request("Department", resource({})))
    assert (refused.status_code, "too many reviews at once" in refused.text) == (503, True)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    engine.is_silent = False
    assert (await webhook.review(request("Department", resource({})))).status_code == 200
    await webhook.client.aclose()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"apiVersion": "admission.k8s.io/v1beta1", "request": {"uid": "r"}}', 400),
        (b'{"apiVersion": "admission.k8s.io/v1", "request": {}}', 400),
        (b" " * (BODY_BYTES_MAX + 1), 413),
    ],
    ids=["no JSON", "a list", "another version", "no uid", "too large"],
)
async def test_what_is_no_review_is_refused(content: bytes, status: int, webhook: Webhook) -> None:
    assert (await webhook.post(content)).status_code == status


async def test_nothing_else_is_served(webhook: Webhook) -> None:
    assert (await webhook.client.get("/validate")).status_code == 404
    assert (await webhook.client.post("/mutate")).status_code == 404
