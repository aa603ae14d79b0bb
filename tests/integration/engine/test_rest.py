"""REST beside gRPC, both of one engine: the same objects, the same answers, and HTTP's own conventions on top."""

import base64
import contextlib
import gzip
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.grpc.channel import EngineChannel
from pymigrate.engine.entrypoints.rest.bindings import Binding
from pymigrate.engine.entrypoints.rest.calls import BODY_BYTES_MAX, QUERY_BYTES_MAX
from pymigrate.engine.entrypoints.rest.remote import remote_services
from pymigrate.engine.entrypoints.rest.remote_identity import RemoteBearers
from pymigrate.engine.entrypoints.rest.server import RestServer, contract_routes
from pymigrate.engine.entrypoints.rest.streams import Streams
from pymigrate.v1 import environment_pb2, impact_pb2
from pymigrate.v1.shape import from_data, to_data
from tests.integration.engine.served import BEARERS, SECONDS_MAX, TOKEN, ServedEngine, ask
from tests.unit.application.engines import PLAN, phase

RUN = f"{PLAN}/runs/r"
BEARER = {"authorization": f"Bearer {TOKEN}"}


class Rest:
    """A REST server of the served engine, and a client of it. One that `is_remote` is a gRPC client of the engine, as one in a process of
    its own is."""

    def __init__(self, served: ServedEngine, *, is_remote: bool) -> None:
        self._served = served
        self._channel = EngineChannel(EngineAccess(served.home))

        async def start() -> tuple[RestServer, int]:
            servicers = remote_services(self._channel) if is_remote else served.servicers
            bearers = RemoteBearers(self._channel, SystemClock()) if is_remote else BEARERS
            server = RestServer(servicers, bearers, Streams(streams_max=2))
            return server, await server.start("127.0.0.1:0")

        self.server, self.port = served.do(start())
        url = f"http://127.0.0.1:{self.port}"
        # Without TLS on loopback: reading authorities takes longer than most tests here.
        self.http = httpx.Client(base_url=url, headers=BEARER, timeout=SECONDS_MAX, trust_env=False, verify=False)

    def on_loop(self, work: Any) -> None:
        """Does something on the engine's own thread."""

        async def done() -> None:
            work()

        self._served.do(done())

    def close(self) -> None:
        """Ends both."""
        self.http.close()
        self._served.do(self.server.stop())
        self._served.do(self._channel.close())


@pytest.fixture(params=["in the engine", "as a client"])
def rest(served: ServedEngine, request: pytest.FixtureRequest) -> Iterator[Rest]:
    rest = Rest(served, is_remote=request.param == "as a client")
    yield rest
    rest.close()


@pytest.fixture
def http(rest: Rest) -> httpx.Client:
    return rest.http


@pytest.fixture
def declared(served: ServedEngine) -> None:
    """A plan of two phases."""
    served.do(served.engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])}))


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem of an answer, which has this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert told["status"] == status
    assert told["detail"]
    return told


def events(response: httpx.Response) -> Iterator[dict[str, str]]:
    """The events of a stream, as they come."""
    event: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


def test_an_environment_is_made_read_changed_listed_and_deleted(http: httpx.Client, client: Client) -> None:
    made = http.post("/v1/environments", params={"environmentId": "prod"}, json={"displayName": "P"})
    assert made.status_code == 200
    stored = ask(client, client.environments.GetEnvironment, _get("environments/prod"))
    assert made.json() == to_data(stored)
    assert made.headers["etag"] == f'"{stored.etag}"'
    assert http.get("/v1/environments/prod").json() == made.json()
    changed = http.patch("/v1/environments/prod", json={"displayName": "Production"})
    assert changed.json()["displayName"] == "Production"
    assert http.get("/v1/environments").json() == {"environments": [changed.json()]}
    gone = http.delete("/v1/environments/prod")
    assert (gone.status_code, gone.content) == (204, b"")
    assert "environments/prod" in problem(http.get("/v1/environments/prod"), 404)["detail"]


def test_a_dry_run_keeps_nothing(http: httpx.Client) -> None:
    assert http.post("/v1/environments", params={"environmentId": "e", "validateOnly": "true"}).status_code == 200
    assert http.get("/v1/environments").json() == {}


def test_files_of_definitions_are_applied_as_over_grpc(http: httpx.Client) -> None:
    text = "apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {name: filed}\nspec: {displayName: Filed}\n"
    body = {"files": [{"path": "a.yaml", "content": base64.b64encode(text.encode()).decode()}]}
    done = http.post("/v1/definitions:apply", json=body)
    assert done.status_code == 200
    assert [(each["name"], each["action"]) for each in done.json()["changes"]] == [("environments/filed", "create")]
    body["files"][0]["content"] = base64.b64encode(text.replace("displayName", "dispName").encode()).decode()
    refused = http.post("/v1/definitions:apply", json=body)
    assert refused.status_code == 400
    assert refused.json()["violations"][0]["field"] == "a.yaml:4: spec.dispName"
    checked = http.post("/v1/definitions:apply", json={**body, "validateOnly": True}).json()
    assert [(each["line"], each["rule"]) for each in checked["problems"]] == [(4, "shape")]


def test_a_state_that_was_changed_meanwhile_is_neither_changed_nor_deleted(http: httpx.Client) -> None:
    first = http.post("/v1/environments", params={"environmentId": "e"}).headers["etag"]
    second = http.patch("/v1/environments/e", json={"displayName": "E"}, headers={"if-match": first})
    assert second.status_code == 200
    stale = http.patch("/v1/environments/e", json={"displayName": "F"}, headers={"if-match": first})
    assert problem(stale, 412)["reason"] == "STALE_WRITE"
    problem(http.delete("/v1/environments/e", headers={"if-match": first}), 412)
    assert http.delete("/v1/environments/e", headers={"if-match": second.headers["etag"]}).status_code == 204


def test_a_state_that_is_known_is_not_sent_again(http: httpx.Client) -> None:
    etag = http.post("/v1/environments", params={"environmentId": "e"}).headers["etag"]
    same = http.get("/v1/environments/e", headers={"if-none-match": f'"other", W/{etag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert http.get("/v1/environments/e", headers={"if-none-match": '"other"'}).status_code == 200


def test_a_call_with_an_idempotency_key_is_done_once(http: httpx.Client) -> None:
    def make(name: str) -> httpx.Response:
        return http.post("/v1/environments", params={"environmentId": name}, headers={"idempotency-key": '"k"'})

    first = make("e")
    assert make("e").json() == first.json()
    assert problem(make("other"), 400)["field"] == "request_id"
    assert len(http.get("/v1/environments").json()["environments"]) == 1


def test_another_side_s_object_is_refused_with_whose_it_is(http: httpx.Client) -> None:
    terraform = {"pymigrate-managed-by": "terraform"}
    http.post("/v1/environments", params={"environmentId": "e"}, headers=terraform)
    assert problem(http.delete("/v1/environments/e"), 409)["reason"] == "NOT_OWNED"
    assert http.delete("/v1/environments/e", headers=terraform).status_code == 204
    assert problem(http.get("/v1/environments", headers={"pymigrate-managed-by": "x"}), 400)["violations"]


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer \xe9"])
def test_nothing_of_the_contract_is_told_without_the_token(rest: Rest, given: str) -> None:
    headers = [(b"authorization", given.encode("latin-1"))] if given else []
    url = f"http://127.0.0.1:{rest.port}"
    for path in ("/v1/environments", "/v1/nothing", "/metrics", "/v1/environments/e/plans/p/runs/r:watch"):
        response = httpx.get(f"{url}{path}", headers=headers, trust_env=False)
        assert problem(response, 401)["reason"] == "UNAUTHENTICATED"
        assert response.headers["www-authenticate"] == "Bearer"


def test_probes_need_no_token_and_turn_when_the_engine_drains(rest: Rest) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{rest.port}", trust_env=False) as anybody:
        assert (anybody.get("/livez").status_code, anybody.get("/readyz").status_code) == (200, 503)
        rest.on_loop(rest.server.tell_ready)
        assert anybody.get("/readyz").status_code == 200
        rest.on_loop(rest.server.tell_draining)
        assert (anybody.get("/livez").status_code, anybody.get("/readyz").status_code) == (200, 503)


def test_the_document_is_served_and_compressed_for_whoever_takes_it_so(rest: Rest) -> None:
    url = f"http://127.0.0.1:{rest.port}/openapi.json"
    with httpx.stream("GET", url, headers={"accept-encoding": "gzip"}, trust_env=False) as response:
        assert response.headers["content-encoding"] == "gzip"
        told = json.loads(gzip.decompress(b"".join(response.iter_raw())))
    plain = httpx.get(url, headers={"accept-encoding": "identity"}, trust_env=False)
    assert "content-encoding" not in plain.headers
    assert plain.json() == told
    assert told["openapi"].startswith("3.1")


@pytest.mark.usefixtures("declared")
def test_an_impact_is_what_grpc_tells(http: httpx.Client, client: Client) -> None:
    asked = {"draws": 5, "seed": 3, "startTime": "2026-01-31T12:00:00Z", "probeSecondsMax": -1}
    told = http.post(f"/v1/{PLAN}:analyzeImpact", json=asked)
    assert told.status_code == 200, told.text
    request = impact_pb2.AnalyzeImpactRequest(plan=PLAN)
    from_data(asked, request)
    over_grpc = to_data(ask(client, client.impacts.AnalyzeImpact, request))
    over_rest = told.json()
    for answer in (over_grpc, over_rest):
        answer.pop("analyzeTime", None)
    assert over_rest["phases"].keys() == {"a", "b"}
    assert over_rest == json.loads(json.dumps(over_grpc))


@pytest.mark.usefixtures("declared")
def test_variants_are_compared_as_over_grpc(http: httpx.Client, client: Client) -> None:
    asked = {
        "draws": 5,
        "startTime": "2026-01-31T12:00:00Z",
        "variants": {"beside": {"phases": {"b": {"droppedDependencies": ["a"]}}}},
    }
    told = http.post(f"/v1/{PLAN}:compareImpact", json=asked)
    assert told.status_code == 200, told.text
    request = impact_pb2.CompareImpactRequest(plan=PLAN)
    from_data(asked, request)
    answer = ask(client, client.impacts.CompareImpact, request)
    rows = [to_data(row) for row in answer.differences]
    assert told.json()["differences"] == [json.loads(json.dumps(row)) for row in rows]
    assert set(told.json()["variants"]) == {"beside"}


@pytest.mark.usefixtures("declared")
def test_a_run_is_watched_to_its_end_and_resumed_after_an_event(http: httpx.Client) -> None:
    started = http.post(f"/v1/{PLAN}/runs", json={"runId": "r"}, headers={"idempotency-key": "k"})
    assert started.json()["name"] == RUN
    with http.stream("GET", f"/v1/{RUN}:watch", headers={"accept-encoding": "gzip"}) as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert "content-encoding" not in response.headers
        opening, *told, end = events(response)
    assert ("retry" in opening, end["event"]) == (True, "end")
    last = json.loads(told[-1]["data"])
    assert (last["run"]["state"], last["run"]["rows"]) == ("succeeded", 20)
    assert told[-1]["id"] == last["resumeToken"]
    everything = http.get(f"/v1/{RUN}/events").json()["events"]
    seen = int(last["resumeToken"]) - 2
    with http.stream("GET", f"/v1/{RUN}:watch", headers={"last-event-id": str(seen)}) as response:
        again = [json.loads(event["data"]) for event in events(response) if event.get("id")]
    assert [event["sequence"] for answer in again for event in answer["events"]] == [seen + 1, seen + 2]
    assert everything[-1] == again[-1]["events"][-1]


@pytest.mark.usefixtures("declared")
def test_a_stream_that_can_not_begin_is_an_ordinary_problem(http: httpx.Client) -> None:
    problem(http.get(f"/v1/{RUN}:watch"), 404)
    http.post(f"/v1/{PLAN}/runs", json={"runId": "r", "run": {"desiredState": "paused"}})
    refused = problem(http.get(f"/v1/{RUN}:watch", headers={"last-event-id": "x"}), 400)
    assert refused["field"] == "resume_token"


@pytest.mark.usefixtures("declared")
def test_streams_end_when_the_engine_drains_and_no_more_than_the_limit_are_served(rest: Rest) -> None:
    rest.http.post(f"/v1/{PLAN}/runs", json={"runId": "r", "run": {"desiredState": "paused"}})
    watch = f"/v1/{RUN}:watch"
    with rest.http.stream("GET", watch) as first, rest.http.stream("GET", watch) as second:
        following = [events(first), events(second)]
        assert all("retry" in next(found) for found in following)
        assert problem(rest.http.get(watch), 429)["reason"] == "TOO_MANY_STREAMS"
        rest.on_loop(rest.server.tell_draining)
        assert all("end" not in event.values() for found in following for event in found)


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("PUT", "/v1/environments/e", {}, 405),
        ("OPTIONS", "/v1/environments", {}, 405),
        ("POST", "/livez", {}, 405),
        ("GET", "/livez/", {}, 404),
        ("GET", "/v1/environments/%0A", {}, 404),
        ("GET", "/", {}, 404),
        ("GET", "/v1/environments/", {}, 404),
        ("GET", "/v1/environments/a%2Fplans%2Fb", {}, 404),
        ("GET", "/v1/environments/%00", {}, 404),
        ("GET", "/v1/environments/-", {}, 404),
        ("GET", "/v1/environments?pageSize=-1", {}, 400),
        ("GET", "/v1/environments?pageToken=%00", {}, 400),
        ("GET", "/v1/environments?pageSize=%FF", {}, 400),
        ("GET", f"/v1/environments?pageToken={'x' * QUERY_BYTES_MAX}", {}, 414),
        ("GET", "/v1/environments", {"content": b"{}"}, 400),
        ("POST", "/v1/environments", {"json": {}}, 400),
        (
            "POST",
            "/v1/environments?environmentId=e",
            {"content": b"{", "headers": {"content-type": "application/json"}},
            400,
        ),
        ("POST", "/v1/environments?environmentId=e", {"data": {"a": "b"}}, 415),
        ("POST", "/v1/environments?environmentId=e", {"content": b" " * (BODY_BYTES_MAX + 1)}, 413),
        ("POST", f"/v1/{PLAN}:start", {}, 404),
        ("POST", "/v1/workerHosts:register", {"json": {}}, 404),
    ],
)
def test_what_is_asked_wrongly_is_told_and_never_the_engine_s_fault(
    http: httpx.Client, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    problem(http.request(method, path, **options), status)


WORDS = st.sampled_from(["e", "p", "r", "a", "legacy", "-", "a:b", "%2F", "%00", "..", "ü", "x" * 300]) | st.text(
    max_size=8
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize("binding", contract_routes().bindings, ids=lambda binding: str(binding.method.name))
def test_whatever_a_call_is_given_is_answered_and_never_the_engine_s_fault(
    served: ServedEngine, binding: Binding
) -> None:
    streams = Streams()
    streams.close()  # each ends with its first event, as most have no end
    application = RestServer(served.servicers, BEARERS, streams).application
    body = binding.input if binding.body == "*" else binding.input.fields_by_name.get(binding.body)
    fields = getattr(body, "message_type", body)
    names = st.sampled_from([field.camelcase_name for field in fields.fields]) if fields is not None else WORDS
    parameters = st.sampled_from([field.camelcase_name for field in binding.query_fields().values()] or ["x"])

    async def answer(path: str, query: dict[str, str], content: bytes | None) -> httpx.Response:
        transport = httpx.ASGITransport(application, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://engine", headers=BEARER) as client:
            told = {"content-type": "application/json"} if content is not None else {}
            return await client.request(binding.http_method, path, params=query, content=content, headers=told)

    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        segments = [
            data.draw(WORDS) if segment == "*" and data.draw(st.booleans()) else segment.replace("*", "e")
            for segment in binding.template.segments
        ]
        path = "/".join(("", *(quote(segment, safe="%:") for segment in segments)))
        path += f":{binding.template.verb}" if binding.template.verb else ""
        query = data.draw(st.dictionaries(parameters, WORDS, max_size=2))
        content = json.dumps(data.draw(st.dictionaries(names, VALUES, max_size=3))).encode() if binding.body else None
        found = served.do(answer(path, query, content))
        assert found.status_code < 500, (path, query, content, found.text)
        if found.status_code >= 400:
            problem(found, found.status_code)

    check()


def test_a_body_that_does_not_say_how_long_it_is_is_read_up_to_the_limit(http: httpx.Client) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(BODY_BYTES_MAX // 2**20 + 1):
            yield b" " * 2**20

    with contextlib.suppress(httpx.WriteError):  # the engine may have answered and closed before everything was written
        problem(http.post("/v1/environments?environmentId=e", content=parts()), 413)
    assert http.get("/v1/environments").json().get("environments", []) == []


def test_head_answers_as_get_does_without_a_body(http: httpx.Client) -> None:
    etag = http.post("/v1/environments", params={"environmentId": "e"}).headers["etag"]
    head = http.head("/v1/environments/e")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag)


def test_what_nobody_expected_is_told_without_any_of_it(served: ServedEngine) -> None:
    class Broken:
        async def ListEnvironments(self, request: Any, context: Any) -> Any:
            raise KeyError("a secret of the engine's")

    async def answer() -> httpx.Response:
        application = RestServer({"EnvironmentService": Broken()}, BEARERS).application
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://engine", headers=BEARER) as client:
            return await client.get("/v1/environments")

    told = problem(served.do(answer()), 500)
    assert "secret" not in str(told)
    assert "log" in told["detail"]


def test_an_address_that_another_process_has_is_told(served: ServedEngine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        async def second() -> None:
            await RestServer({}, BEARERS).start(f"127.0.0.1:{port}")

        with pytest.raises(PermanentError, match="PYMIGRATE_REST_LISTEN"):
            served.do(second())


def _get(name: str) -> environment_pb2.GetEnvironmentRequest:
    return environment_pb2.GetEnvironmentRequest(name=name)
