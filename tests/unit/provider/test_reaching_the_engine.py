"""How the provider is told which engine it talks to: by a home, or by endpoint and token; what can't be is refused before it is tried."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from tf.gen import tfplugin_pb2 as pb
from tf.utils import Diagnostics, to_dynamic_value

from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.reaching import place_of
from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.provider.sdk.ephemeral import EphemeralContext, messages
from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.provider.sdk.values import Unknown
from pymigrate.v1 import environment_pb2, token_pb2
from tests.unit.provider.answering_engine import answering
from tests.unit.provider.impact_engine import refuse

GIVEN = ("token", "endpoint", "expire_time", "id")
NOTHING = dict.fromkeys(("home", "endpoint", "token", "ca_file", "downtime_increase_share_max"))


def configured(**config: Any) -> PymigrateProvider:
    """A provider of that configuration."""
    provider = PymigrateProvider()
    provider.configure_provider(Diagnostics(), NOTHING | config)
    return provider


def wrong_with(**config: Any) -> list[str]:
    """What is said of a configuration when it is validated."""
    request = pb.ValidateProviderConfig.Request(config=to_dynamic_value(NOTHING | config))
    answer = Servicer(PymigrateProvider()).ValidateProviderConfig(request, None)
    return [f"{found.summary}: {found.detail}" for found in answer.diagnostics]


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:7070", "localhost:7070", "[::1]:7070", "unix:/run/pymigrate.sock", "engine.prod.svc:7433"]
)
def test_an_address_with_a_token_is_one_to_talk_to(endpoint: str) -> None:
    assert wrong_with(endpoint=endpoint, token="pmt_x") == []


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"endpoint": "https://10.0.0.7:7070", "token": "t"}, "must be a host and a port"),
        ({"endpoint": "engine.example.com", "token": "t"}, "must be a host and a port"),
        ({"endpoint": "127.0.0.1:7070"}, "An endpoint needs a token"),
        ({"endpoint": "127.0.0.1:7070", "token": "t", "home": "/srv/engine"}, "There is one engine"),
    ],
)
def test_what_leads_to_no_engine_or_to_two_is_refused(config: dict[str, Any], text: str) -> None:
    (wrong,) = wrong_with(**config)
    assert text in wrong


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "smörgås", ""])
def test_a_token_that_can_not_be_sent_is_refused_and_not_shown(token: str) -> None:
    (wrong,) = wrong_with(token=token)
    assert "must be a token of printable characters" in wrong
    assert not token or token not in wrong


def test_what_is_not_known_yet_is_not_judged() -> None:
    assert wrong_with(endpoint=Unknown, token=Unknown) == []


@pytest.mark.parametrize("argument", ["home", "endpoint", "token", "ca_file"])
def test_what_is_not_known_when_planning_is_named(argument: str) -> None:
    provider = configured(**{argument: Unknown})
    assert not provider.is_engine_known
    with pytest.raises(Refused, match=f"The engine's {argument} is not known yet"):
        provider.engine()


def test_endpoint_and_token_stand_in_place_of_a_home(tmp_path: Path) -> None:
    with answering(tmp_path / "engine") as engine:
        shown: list[Any] = []

        def answer(request: Any, call: Any) -> Any:
            shown.append(dict(call.invocation_metadata())["authorization"])
            return environment_pb2.Environment()

        engine.answers["GetEnvironment"] = answer
        endpoint = (engine.home / "endpoint").read_text()
        provider = configured(endpoint=endpoint, token="pmt_x")
        request = environment_pb2.GetEnvironmentRequest(name="environments/prod")
        provider.engine().call("EnvironmentService", "GetEnvironment", request)
        assert shown == ["Bearer pmt_x"]


def test_an_endpoint_s_token_may_be_in_a_file_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYMIGRATE_TOKEN_FILE", "/secret/token")
    assert wrong_with(endpoint="127.0.0.1:7070") == []


@pytest.mark.parametrize("endpoint", ["10.0.0.7:7070", "localhost.example.com:7070", "[fd00::7]:7070"])
def test_a_token_is_not_sent_to_another_machine_that_nothing_vouches_for(endpoint: str, tmp_path: Path) -> None:
    place = place_of({"PYMIGRATE_HOME": str(tmp_path)}, endpoint=endpoint, token="pmt_x")
    with pytest.raises(Refused, match="is not on this machine") as refused:
        place.open()
    assert refused.value.path == ("ca_file",)


def test_what_is_configured_goes_before_the_environment_and_that_before_the_home(tmp_path: Path) -> None:
    (tmp_path / "endpoint").write_text("127.0.0.1:1\n")
    (tmp_path / "token").write_text("of-the-home\n")
    (tmp_path / "secret").write_text("of-a-file\n")
    home = {"PYMIGRATE_HOME": str(tmp_path)}
    said = home | {"PYMIGRATE_ENDPOINT": "127.0.0.1:2", "PYMIGRATE_TOKEN_FILE": str(tmp_path / "secret")}
    found = [place_of(home), place_of(said), place_of(said, endpoint="127.0.0.1:3", token="own")]
    assert [(place.endpoint, place.token) for place in found] == [
        ("127.0.0.1:1", "of-the-home"),
        ("127.0.0.1:2", "of-a-file"),
        ("127.0.0.1:3", "own"),
    ]


def test_a_home_that_is_configured_is_asked_alone(tmp_path: Path) -> None:
    (tmp_path / "endpoint").write_text("127.0.0.1:1\n")
    place = place_of({"PYMIGRATE_ENDPOINT": "127.0.0.1:2", "PYMIGRATE_CA_FILE": "/ca"}, home=str(tmp_path))
    assert (place.endpoint, place.ca_file) == ("127.0.0.1:1", "")


@pytest.mark.parametrize("content", ["", "no certificate"])
def test_authorities_that_are_none_are_refused_rather_than_done_without(content: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(content)
    place = place_of({}, endpoint="127.0.0.1:1", token="t", ca_file=str(tmp_path / "ca.pem"))
    with pytest.raises(Refused, match="holds no certificate"):
        place.open()
    with pytest.raises(Refused, match="Can't read"):
        place_of({}, endpoint="127.0.0.1:1", token="t", ca_file=str(tmp_path / "gone.pem")).open()


def test_a_token_says_where_the_engine_is_and_when_it_ends(tmp_path: Path) -> None:
    with answering(tmp_path / "engine") as engine:
        made = token_pb2.CreateTokenResponse(token="pmt_y", id="7", expire_time=Timestamp(seconds=1_800_000_000))
        engine.answers["CreateToken"] = lambda request, call: made
        provider = configured(home=str(engine.home))
        (kind,) = provider.get_ephemeral_resources()
        context = EphemeralContext(Diagnostics(), "pymigrate_token", Servicer(provider).stopping)
        told = kind(provider).open(context, {"lifetime_seconds": 60, "purpose": "a test"})
        assert told["token"] == "pmt_y"
        assert told["endpoint"] == (engine.home / "endpoint").read_text()
        assert told["expire_time"] == "2027-01-15T08:00:00Z"
        assert engine.asked == [token_pb2.CreateTokenRequest(lifetime_seconds=60, purpose="a test")]


class Called(grpc.HandlerCallDetails):
    """One call, as a server sees it before it is answered."""

    def __init__(self, name: str) -> None:
        self.method = f"/tfplugin6.Provider/{name}"
        self.invocation_metadata = ()


def served(home: Path, call: str, request: str, **fields: Any) -> Any:
    """What the provider's process answers to a call of an ephemeral resource."""
    method: Any = Servicer(configured(home=str(home))).ephemeral_handler().service(Called(call))
    sent = messages()[request](type_name="pymigrate_token", **fields).SerializeToString()
    return method.unary_unary(method.request_deserializer(sent), None)


def test_a_token_is_prolonged_before_it_ends_and_ended_with_the_command(tmp_path: Path) -> None:
    with answering(tmp_path / "engine") as engine:
        moments = [Timestamp(seconds=1_800_000_000 + passed) for passed in (0, 600)]
        engine.answers |= {
            "CreateToken": lambda request, call: token_pb2.CreateTokenResponse(token="pmt_y", expire_time=moments[0]),
            "RenewToken": lambda request, call: token_pb2.RenewTokenResponse(expire_time=moments[1]),
            "EndToken": lambda request, call: Empty(),
        }
        config = to_dynamic_value({"lifetime_seconds": 600} | dict.fromkeys(("purpose", *GIVEN)))
        opened = served(engine.home, "OpenEphemeralResource", "Asked", config=config)
        assert opened.renew_at == Timestamp(seconds=1_800_000_000 - 200)
        renewed = served(engine.home, "RenewEphemeralResource", "Held", private=opened.private)
        assert renewed.renew_at == Timestamp(seconds=1_800_000_000 + 400)
        closed = served(engine.home, "CloseEphemeralResource", "Held", private=renewed.private)
        assert [*opened.diagnostics, *renewed.diagnostics, *closed.diagnostics] == []
        assert engine.asked[1:] == [
            token_pb2.RenewTokenRequest(token="pmt_y", lifetime_seconds=600),
            token_pb2.EndTokenRequest(token="pmt_y"),
        ]


def test_a_token_that_can_not_be_prolonged_is_a_diagnostic(tmp_path: Path) -> None:
    with answering(tmp_path / "engine") as engine:
        engine.answers["RenewToken"] = refuse(grpc.StatusCode.FAILED_PRECONDITION, "the token has ended")
        private = b'{"token": "pmt_y", "lifetime_seconds": "60"}'
        (said,) = served(engine.home, "RenewEphemeralResource", "Held", private=private).diagnostics
        assert (said.summary, said.detail) == ("A token can't be prolonged", "the token has ended")


def test_a_token_that_can_not_be_ended_fails_nothing(tmp_path: Path) -> None:
    with answering(tmp_path / "engine") as engine:
        private = b'{"token": "pmt_y", "lifetime_seconds": "60"}'
        (said,) = served(engine.home, "CloseEphemeralResource", "Held", private=private).diagnostics
        assert (said.severity, said.summary) == (pb.Diagnostic.WARNING, "A token was not ended")
        assert said.detail.endswith("It ends by itself when its lifetime is over.")


def test_ephemeral_resources_are_told_with_their_schemas() -> None:
    servicer = Servicer(PymigrateProvider())
    schemas = messages()["SchemaAddition"].FromString(servicer.GetProviderSchema(None, None).SerializeToString())
    metadata = messages()["MetadataAddition"].FromString(servicer.GetMetadata(None, None).SerializeToString())
    assert [each.type_name for each in metadata.ephemeral_resources] == ["pymigrate_token"]
    (entry,) = schemas.ephemeral_resource_schemas
    (token,) = [each for each in entry.value.block.attributes if each.name == "token"]
    assert entry.key == "pymigrate_token"
    assert token.sensitive
