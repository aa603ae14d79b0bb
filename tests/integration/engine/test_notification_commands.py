"""Notifications at the command line: the example as it stands, applied, previewed and looked at."""

import json
from pathlib import Path

import pytest

from pymigrate.engine.entrypoints.cli import notification_commands
from tests.integration.engine.command_line import CommandLine
from tests.integration.engine.served import ServedEngine

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
PLAN = EXAMPLES / "gitops/quickstart/warehouse.yaml"
NOTICES = EXAMPLES / "notifications/quickstart.yaml"
ENVIRONMENT = "environments/quickstart"


@pytest.fixture
def pymigrate(served: ServedEngine) -> CommandLine:
    """The command line of an engine to which the examples were applied."""
    line = CommandLine(served.home, notification_commands)
    line.apply(PLAN.read_text().replace("${LEGACY}", "/legacy").replace("${WAREHOUSE}", "/warehouse.duckdb"))
    created = line.apply(NOTICES.read_text())
    assert {each.rpartition(" ")[2] for each in created} == {"created"}
    return line


def test_an_example_that_is_applied_again_changes_nothing(pymigrate: CommandLine) -> None:
    again = pymigrate.apply(NOTICES.read_text())
    assert {each.rpartition(" ")[2] for each in again} == {"unchanged"}


def test_a_change_of_one_object_updates_that_one(pymigrate: CommandLine) -> None:
    changed = pymigrate.apply(NOTICES.read_text().replace("ben.osei@", "benjamin.osei@"))
    assert [each for each in changed if not each.endswith("unchanged")] == [f"{ENVIRONMENT}/stakeholders/ben updated"]


def test_a_failure_reaches_whoever_is_on_duty_the_owner_and_the_incident_system(pymigrate: CommandLine) -> None:
    answer = pymigrate.json(
        "notifications", "preview", ENVIRONMENT, "phase.failed", "--phase", "flights", "--plan", "warehouse",
        "--department", "operations", "--severity", "error", "--reason", "SOURCE_UNAVAILABLE",
    )  # fmt: skip
    told = {(each["delivery"]["rule"], each["delivery"]["stakeholder"]) for each in answer["deliveries"]}
    assert {("record", "incident-system"), ("owners", "flight-operations")} <= told
    assert {stakeholder for rule, stakeholder in told if rule == "failures"} in ({"ann"}, {"ben"})
    assert "chief" not in {stakeholder for _, stakeholder in told}


def test_an_executive_gets_a_digest(pymigrate: CommandLine) -> None:
    answer = pymigrate.json("notifications", "preview", ENVIRONMENT, "run.succeeded", "--plan", "warehouse")
    (digest,) = [each["delivery"] for each in answer["deliveries"] if each["delivery"]["stakeholder"] == "chief"]
    assert (digest["rule"], digest["state"]) == ("executive-digest", "waiting")


def test_a_channel_that_is_tried_is_listed_and_shown(pymigrate: CommandLine) -> None:
    channel = f"{ENVIRONMENT}/notificationChannels/mail"
    said = pymigrate("notifications", "test-channel", channel, "ann@example.com")
    name, state = said.split()
    assert state == "pending"
    assert name.rpartition("/")[2] in pymigrate("notifications", "deliveries", ENVIRONMENT)
    (line,) = pymigrate("notifications", "deliveries", ENVIRONMENT, "--state", "pending", "--json").splitlines()
    assert json.loads(line)["name"] == name
    assert "ann@example.com by mail" in pymigrate("notifications", "delivery", name)
    assert "pending" in pymigrate("notifications", "redrive", name, code=1)


def test_what_was_applied_is_deleted_by_its_names_and_applied_again(pymigrate: CommandLine) -> None:
    names = [f"{ENVIRONMENT}/silences/rehearsal", f"{ENVIRONMENT}/stakeholders/flight-operations"]
    assert pymigrate("delete", *names).splitlines() == [f"{name} deleted" for name in names]
    again = pymigrate.apply(NOTICES.read_text())
    assert {each for each in again if each.endswith("created")} == {f"{name} created" for name in names}


def test_what_others_need_is_not_deleted_and_says_by_whom(pymigrate: CommandLine) -> None:
    said = pymigrate("delete", f"{ENVIRONMENT}/stakeholders/ann", code=1)
    assert f"is needed by {ENVIRONMENT}/onCallSchedules/engineers" in said


@pytest.mark.parametrize("name", ["ann", f"{ENVIRONMENT}/people/ann", "environments//stakeholders/x/y", "silences/x"])
def test_what_no_file_declares_is_not_deleted_by_name(pymigrate: CommandLine, name: str) -> None:
    assert "is no name of an object that a file declares" in pymigrate("delete", name, code=1)


def test_a_word_that_there_is_not_is_told_with_those_that_there_are(pymigrate: CommandLine) -> None:
    said = pymigrate("notifications", "deliveries", ENVIRONMENT, "--state", "sent", code=1)
    assert "`sent` is not one of waiting, pending" in said
    said = pymigrate("notifications", "preview", ENVIRONMENT, "run.failed", "--severity", "bad", code=1)
    assert "`bad` is not one of info" in said


def test_figures_are_told_as_a_table(pymigrate: CommandLine) -> None:
    assert "share in time" in pymigrate("notifications", "kpis", ENVIRONMENT)


def test_a_definition_that_is_wrong_says_where(pymigrate: CommandLine) -> None:
    said = pymigrate.apply(NOTICES.read_text().replace("to: ann.meier@example.com", 'to: "ann\\r\\nBcc: eve"'), code=1)
    assert any("spec.addresses.mail.to: is no mail address" in line for line in said)
