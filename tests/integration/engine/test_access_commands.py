"""`pymigrate access`: giving and taking roles, and telling who has which."""

import pytest

from pymigrate.engine.entrypoints.cli import access_commands
from tests.integration.engine.command_line import CommandLine
from tests.integration.engine.served import ServedEngine


@pytest.fixture
def cli(served: ServedEngine) -> CommandLine:
    return CommandLine(served.home, access_commands)


def test_a_role_is_given_listed_and_taken_away(cli: CommandLine) -> None:
    made = cli("access", "bind", "dba", "operator", "group/dba", "oidc/ann", "--environment", "prod", "--plan", "p")
    assert made == "roleBindings/dba: operator environments/prod: p for group/dba, oidc/ann\n"
    listed = cli("access", "list")
    assert "dba" in listed
    assert "environments/prod: p" in listed
    assert cli.json("access", "list")["roleBindings"][0]["members"] == ["group/dba", "oidc/ann"]
    cli("access", "unbind", "dba", "--dry-run")
    assert cli.json("access", "list") != {}
    cli("access", "unbind", "dba")
    assert cli.json("access", "list") == {}


def test_a_dry_run_gives_nothing(cli: CommandLine) -> None:
    assert "lane_worker everywhere" in cli("access", "bind", "w", "lane-worker", "service/w", "--dry-run")
    assert cli.json("access", "list") == {}


def test_an_unknown_role_is_told_with_those_that_there_are(cli: CommandLine) -> None:
    assert "operator" in cli("access", "bind", "x", "root", "service/x", code=2)


def test_whoever_has_the_engine_s_token_is_told_that_it_may_do_everything(cli: CommandLine) -> None:
    assert cli("access", "whoami").splitlines() == ["local", "admin everywhere", "lane_worker everywhere"]
    assert cli.json("access", "whoami")["principal"] == "local"
