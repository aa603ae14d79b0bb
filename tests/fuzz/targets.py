"""What is fuzzed: each takes bytes as an attacker may send them, and lets nothing out but what its caller knows how to tell."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from google.protobuf.json_format import MessageToDict
from pydantic import ValidationError

from pymigrate.engine.application.connection_definitions import connection_problems
from pymigrate.engine.application.gitops.envelopes import read_definitions
from pymigrate.engine.application.gitops.webhook_events import delivery_of, events_of
from pymigrate.engine.application.short_tokens import ShortTokens
from pymigrate.engine.domain.addresses import address_problem
from pymigrate.engine.domain.errors import InvalidDefinition, PyMigrateError
from pymigrate.engine.domain.names import at_environment, environment_of, is_id, matches, nearest, parent_of, plan_of
from pymigrate.engine.entrypoints.rest.requests import Given, read_request
from pymigrate.engine.entrypoints.rest.server import contract_routes
from pymigrate.engine.ports.feed import read_position
from pymigrate.engine.ports.secrets import parse_secret_ref
from pymigrate.engine.settings import Settings
from pymigrate.engine.testing.clock import START
from pymigrate.v1 import connection_pb2, git_source_pb2
from pymigrate.v1.definition_pb2 import DefinitionFile

ROUTES = contract_routes()
TOKENS = ShortTokens("a token that nobody guesses, of the fuzzer")
PROVIDERS = [each for each in git_source_pb2.GitProvider.values() if each]
KINDS = ("push", "pull_request", "ping", "Push Hook", "Merge Request Hook", "repo:push", "pullrequest:created")
ADDRESSES = ("store", "events_url", "otlp_endpoint", "advertise", "listen")
ROOT = Path(__file__).resolve().parents[2]


def yaml_envelope(data: bytes) -> None:
    """Definition files: each is read, or refused with every place that is wrong."""
    name = "a.json" if data[:1] == b"{" else "a.yaml"
    read = read_definitions([DefinitionFile(path=name, content=data)])
    for definition in read.definitions:
        definition.message.SerializeToString()
    for problem in read.problems:
        assert problem.description, "a problem that says nothing"


def names(data: bytes) -> None:
    """Resource names, cursors and references to secrets."""
    text = data.decode(errors="replace")
    for part in (is_id, parent_of, environment_of, plan_of):
        part(text)
    matches(text, "environments", "plans")
    at_environment(text, text)
    nearest(text, ["environments", "plans", "runs"])
    for read in (lambda: read_position(text), lambda: parse_secret_ref(text, "field")):
        try:
            read()
        except InvalidDefinition as error:
            _require_said(error)
    try:
        TOKENS.read(text, START)
    except PyMigrateError:
        return
    raise AssertionError("a token was made up")


def filters(data: bytes) -> None:
    """Requests over REST that read: path, query and what they filter by."""
    text = data.decode("latin-1")
    path, _, query = text.partition("?")
    pairs = [(name, value) for name, _, value in (part.partition("=") for part in query.split("&") if part)]
    for verb in ("GET", "DELETE"):
        try:
            binding, variables = ROUTES.find(verb, f"/v1/{quote(path, safe='/:%-._~')}")
            read_request(binding, Given(variables, pairs, {}))
        except PyMigrateError:
            continue


def rest_bodies(data: bytes) -> None:
    """Bodies over REST."""
    headers = {"content-type": "application/json"}
    for path in ("/v1/environments/e/plans", "/v1/environments/e/connections", "/v1/environments/e/plans/p/runs"):
        try:
            binding, variables = ROUTES.find("POST", path)
            MessageToDict(read_request(binding, Given(variables, [], headers, data)))
        except PyMigrateError:
            continue


def connection_urls(data: bytes) -> None:
    """Addresses in connections, and of the engine's own store."""
    readable = data.decode(errors="replace")
    address_problem(readable, "https://example.com")
    with suppress(ValidationError):
        Settings(home=ROOT, **{ADDRESSES[len(data) % len(ADDRESSES)]: data.decode(errors="surrogateescape")})  # type: ignore[arg-type]  # all are texts
    for connection in (
        connection_pb2.Connection(http=connection_pb2.HttpApiSystem(base_url=readable)),
        connection_pb2.Connection(postgres=connection_pb2.PostgresSystem(host=readable, database=readable)),
        connection_pb2.Connection(sqlalchemy=connection_pb2.SqlalchemySystem(url=readable)),
    ):
        for problem in connection_problems(connection):
            assert problem.description


def webhook_bodies(data: bytes) -> None:
    """What whoever pretends to be a host of repositories posts."""
    kind, provider = KINDS[len(data) % len(KINDS)], PROVIDERS[len(data) % len(PROVIDERS)]
    headers: Mapping[str, str] = {
        "x-github-event": kind,
        "x-gitlab-event": kind,
        "x-event-key": kind,
        "x-github-delivery": data[:40].decode("latin-1"),
        "content-type": "application/json",
    }
    for body in (data, json.dumps({"ref": data.decode(errors="replace"), "repository": None}).encode()):
        try:
            for event in events_of(provider, headers, body):
                str(event)
        except InvalidDefinition as error:
            _require_said(error)
    delivery_of(provider, headers, b"\0" * 32)


def _require_said(error: InvalidDefinition) -> None:
    if not all(problem.description for problem in error.problems):
        raise AssertionError("a problem that says nothing")


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (yaml_envelope, names, filters, rest_bodies, connection_urls, webhook_bodies)
}
