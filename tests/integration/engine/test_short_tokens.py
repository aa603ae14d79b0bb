"""Tokens that end by themselves: made over a real call, shown over gRPC and REST, and of no use once they have ended or been changed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import httpx
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.caller import Surroundings, random_id
from pymigrate.engine.application.short_tokens import ShortTokens, TokenMaking
from pymigrate.engine.domain.errors import Unauthenticated
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.v1 import environment_pb2, token_pb2, token_pb2_grpc
from tests.integration.engine.served import BEARERS, SECONDS_MAX, TOKEN, ServedEngine
from tests.unit.application.engines import ME, Engine

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


def asked(served: ServedEngine, call: str, request: Any, token: str = TOKEN) -> Any:
    with grpc.insecure_channel(served.endpoint) as channel:
        method = getattr(token_pb2_grpc.TokenServiceStub(channel), call)
        return method(request, metadata=(("authorization", f"Bearer {token}"),), timeout=SECONDS_MAX)


def test_a_token_that_is_prolonged_holds_until_then_and_so_it_does_for_the_next_engine(served: ServedEngine) -> None:
    made = created(served, token_pb2.CreateTokenRequest(lifetime_seconds=60))
    answer = asked(served, "RenewToken", token_pb2.RenewTokenRequest(token=made.token, lifetime_seconds=3600))
    until = answer.expire_time.ToDatetime(UTC)
    assert until - SystemClock().now() > timedelta(seconds=3590)
    after = made.expire_time.ToDatetime(UTC) + timedelta(seconds=1)
    assert BEARERS.short_tokens.read(made.token, after) == made.id
    with pytest.raises(Unauthenticated, match="has ended"):
        BEARERS.short_tokens.read(made.token, until)
    following = ShortTokens(TOKEN)
    making = TokenMaking(served.engine.store, Surroundings(SystemClock(), random_id), following)
    with pytest.raises(Unauthenticated, match="has ended"):
        following.read(made.token, after)
    served.do(making.restore())
    assert following.read(made.token, after) == made.id


def test_a_token_is_prolonged_again_and_again(served: ServedEngine) -> None:
    made = created(served, token_pb2.CreateTokenRequest(lifetime_seconds=60))
    ends = [
        asked(served, "RenewToken", token_pb2.RenewTokenRequest(token=made.token, lifetime_seconds=seconds)).expire_time
        for seconds in (600, 1200, 0)
    ]
    moments = [end.ToDatetime(UTC) for end in ends]
    assert moments[0] < moments[2] < moments[1]
    listed(served, made.token)


def test_a_token_that_is_ended_is_refused_at_once_by_the_next_engine_too(served: ServedEngine) -> None:
    made, other = (created(served, token_pb2.CreateTokenRequest()) for _ in range(2))
    for _ in range(2):  # for one that has ended nothing happens
        asked(served, "EndToken", token_pb2.EndTokenRequest(token=made.token))
    with pytest.raises(grpc.RpcError) as refused:
        listed(served, made.token)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    listed(served, other.token)
    following = ShortTokens(TOKEN)
    making = TokenMaking(served.engine.store, Surroundings(SystemClock(), random_id), following)
    served.do(making.restore())
    with pytest.raises(Unauthenticated, match="has ended"):
        following.read(made.token, SystemClock().now())


def test_its_holder_ends_it_and_no_other_one_and_prolongs_none(served: ServedEngine) -> None:
    made, other = (created(served, token_pb2.CreateTokenRequest()) for _ in range(2))
    for call, request in (
        ("RenewToken", token_pb2.RenewTokenRequest(token=made.token)),
        ("EndToken", token_pb2.EndTokenRequest(token=other.token)),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            asked(served, call, request, made.token)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    asked(served, "EndToken", token_pb2.EndTokenRequest(token=made.token), made.token)


def test_what_has_ended_or_was_never_made_is_not_prolonged(served: ServedEngine) -> None:
    made = created(served, token_pb2.CreateTokenRequest())
    asked(served, "EndToken", token_pb2.EndTokenRequest(token=made.token))
    for text in (made.token, "pmt_none", ""):
        with pytest.raises(grpc.RpcError) as refused:
            asked(served, "RenewToken", token_pb2.RenewTokenRequest(token=text))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_for_how_long_a_token_is_prolonged_is_bounded_as_its_making_is(served: ServedEngine) -> None:
    made = created(served, token_pb2.CreateTokenRequest())
    with pytest.raises(grpc.RpcError) as refused:
        asked(served, "RenewToken", token_pb2.RenewTokenRequest(token=made.token, lifetime_seconds=1e9))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "lifetime_seconds" in (refused.value.details() or "")


async def test_ends_are_kept_no_longer_than_a_token_can_hold_by_itself() -> None:
    engine = Engine()
    tokens = ShortTokens(TOKEN)
    making = TokenMaking(engine.store, Surroundings(engine.clock, random_id), tokens)
    first, second = [await making.create(token_pb2.CreateTokenRequest(), ME) for _ in range(2)]
    await making.end(token_pb2.EndTokenRequest(token=first.token), ME)
    engine.clock.advance(86_401)
    third = await making.create(token_pb2.CreateTokenRequest(), ME)
    await making.end(token_pb2.EndTokenRequest(token=third.token), ME)
    kept = await engine.store.read(lambda unit: unit.resources.names("tokens", ""))
    assert list(kept) == [f"tokens/{third.id}"]
    for ended in (first, second, third):
        with pytest.raises(Unauthenticated, match="has ended"):
            tokens.read(ended.token, engine.clock.now())


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
