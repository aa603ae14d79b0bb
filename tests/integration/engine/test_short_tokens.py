"""Tokens that end by themselves: made over a real call, shown over gRPC and REST, and of no use once they have ended or been changed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import grpc
import httpx
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.short_tokens import ShortTokens
from pymigrate.engine.domain.errors import Unauthenticated
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.v1 import environment_pb2, token_pb2, token_pb2_grpc
from tests.integration.engine.served import BEARERS, SECONDS_MAX, TOKEN, ServedEngine

NOW = datetime(2026, 1, 31, 22, 0, tzinfo=UTC)
LIST = environment_pb2.ListEnvironmentsRequest()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedEngine]:
    engine = ServedEngine(tmp_path_factory.mktemp("home"))
    engine.start()
    yield engine
    engine.stop()
    engine.close()


def created(
    served: ServedEngine, request: token_pb2.CreateTokenRequest, token: str = TOKEN
) -> token_pb2.CreateTokenResponse:
    with grpc.insecure_channel(served.endpoint) as channel:
        stub = token_pb2_grpc.TokenServiceStub(channel)
        answer: token_pb2.CreateTokenResponse = stub.CreateToken(
            request, metadata=(("authorization", f"Bearer {token}"),), timeout=SECONDS_MAX
        )
        return answer


def listed(served: ServedEngine, token: str) -> None:
    client = served.client()
    client.environments.ListEnvironments(LIST, metadata=(("authorization", f"Bearer {token}"),), timeout=SECONDS_MAX)
    client.channel.close()


def refusal(served: ServedEngine, request: token_pb2.CreateTokenRequest, token: str = TOKEN) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        created(served, request, token)
    return refused.value


def test_a_token_that_was_made_lets_its_holder_call(served: ServedEngine) -> None:
    made = created(served, token_pb2.CreateTokenRequest(lifetime_seconds=60, purpose="a test"))
    listed(served, made.token)
    remaining = made.expire_time.ToDatetime(UTC) - SystemClock().now()
    assert timedelta(0) < remaining <= timedelta(seconds=60)


def test_it_is_shown_over_rest_too(served: ServedEngine) -> None:
    made = created(served, token_pb2.CreateTokenRequest())

    async def asked() -> int:
        application = RestServer(served.servicers, BEARERS).application
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://rest") as client:
            answer = await client.get("/v1/environments", headers={"authorization": f"Bearer {made.token}"})
            return answer.status_code

    assert served.do(asked()) == 200


def test_the_audit_trail_says_who_made_it_and_what_for_and_never_the_token(served: ServedEngine) -> None:
    made = created(served, token_pb2.CreateTokenRequest(purpose="terraform apply of prod"))
    entries = served.do(served.engine.store.read(lambda unit: list(unit.audit.list(0, 1_000))))
    (entry,) = [entry for entry in entries if entry.subject == f"tokens/{made.id}"]
    assert (entry.action, entry.actor) == ("create-token", "local")
    assert entry.detail.endswith(": terraform apply of prod")
    assert not [entry for entry in entries if made.token in repr(entry)]


def test_what_its_holder_does_is_told_under_its_name(served: ServedEngine) -> None:
    made = created(served, token_pb2.CreateTokenRequest())
    request = environment_pb2.CreateEnvironmentRequest(
        environment_id="short", environment=environment_pb2.Environment()
    )
    client = served.client()
    client.environments.CreateEnvironment(
        request, metadata=(("authorization", f"Bearer {made.token}"),), timeout=SECONDS_MAX
    )
    client.channel.close()
    entries = served.do(served.engine.store.read(lambda unit: list(unit.audit.list(0, 1_000))))
    assert [entry.actor for entry in entries if entry.subject == "environments/short"] == [f"local/{made.id}"]


def test_its_holder_can_not_prolong_it(served: ServedEngine) -> None:
    made = created(served, token_pb2.CreateTokenRequest())
    assert refusal(served, token_pb2.CreateTokenRequest(), made.token).code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (token_pb2.CreateTokenRequest(lifetime_seconds=59), "lifetime_seconds"),
        (token_pb2.CreateTokenRequest(lifetime_seconds=86_401), "lifetime_seconds"),
        (token_pb2.CreateTokenRequest(lifetime_seconds=float("nan")), "lifetime_seconds"),
        (token_pb2.CreateTokenRequest(purpose="x" * 201), "purpose"),
        (token_pb2.CreateTokenRequest(purpose="one\ntwo"), "purpose"),
    ],
)
def test_what_can_not_be_is_refused_at_its_field(
    served: ServedEngine, request_: token_pb2.CreateTokenRequest, field: str
) -> None:
    refused = refusal(served, request_)
    assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in (refused.details() or "")


def test_a_token_ends_with_its_last_second() -> None:
    tokens = ShortTokens("the engine's")
    made = tokens.make("abc", NOW)
    assert tokens.read(made.text, NOW - timedelta(seconds=1)) == "abc"
    with pytest.raises(Unauthenticated, match="has ended"):
        tokens.read(made.text, NOW)


def test_no_changed_character_of_a_token_is_overlooked() -> None:
    tokens = ShortTokens("the engine's")
    text = tokens.make("abc", NOW).text
    for at in range(len(text)):
        other = "A" if text[at] != "A" else "B"
        changed = text[:at] + other + text[at + 1 :]
        try:
            assert tokens.read(changed, NOW - timedelta(days=1)) == "abc", changed
        except Unauthenticated:
            continue
        # The last character of base64 has bits that stand for nothing.
        assert at == len(text) - 1


@pytest.mark.parametrize("text", ["", "pmt_", "pmt_AAAA", "pmt_" + "A" * 500, "pmt_é", "abc", "pmt_!!!!"])
def test_what_is_no_token_is_refused_as_one_of_another_engine_is(text: str) -> None:
    with pytest.raises(Unauthenticated, match="not this engine's"):
        ShortTokens("the engine's").read(text, NOW)


def test_a_token_of_another_engine_is_refused() -> None:
    text = ShortTokens("another engine's").make("abc", NOW).text
    with pytest.raises(Unauthenticated, match="not this engine's"):
        ShortTokens("the engine's").read(text, NOW - timedelta(days=1))
