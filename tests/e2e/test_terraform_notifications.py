"""Who is told what, through the real terraform: the whole example applied, changed by a line, taken apart, imported and destroyed."""

import shutil

import pytest

from pymigrate.v1 import environment_pb2, notification_pb2
from tests.e2e.engines import ROOT, EngineProcess
from tests.e2e.terraforms import Terraform
from tests.e2e.test_terraform import terraform

__all__ = ["terraform"]
EXAMPLE = ROOT / "examples/terraform/notifications/main.tf"
PROD = "environments/prod"


def change(terraform: Terraform, *lines: tuple[str, str]) -> None:
    """Changes lines of the configuration; each must be there once."""
    main = terraform.folder / "main.tf"
    text = main.read_text()
    for before, after in lines:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    main.write_text(text)


@pytest.fixture
def written(terraform: Terraform) -> Terraform:
    """The example, with nothing applied yet."""
    shutil.copy(EXAMPLE, terraform.folder)
    (terraform.folder / "terraform.tfvars").write_text(
        'smtp_host = "mail.example.com"\nincidents_url = "https://incidents.example.com/hooks/pymigrate"\n'
    )
    terraform.must("init")
    return terraform


@pytest.fixture
def told(written: Terraform) -> Terraform:
    """The example, applied."""
    written.must("apply", "-auto-approve")
    return written


def stakeholders(engine: EngineProcess) -> list[notification_pb2.Stakeholder]:
    """Those that the engine has."""
    with engine.client() as client:
        request = notification_pb2.ListStakeholdersRequest(parent=PROD)
        return list(client.notifications.ListStakeholders(request, metadata=client.metadata, timeout=30).stakeholders)


def environments(engine: EngineProcess) -> list[str]:
    """The environments that the engine has."""
    with engine.client() as client:
        request = environment_pb2.ListEnvironmentsRequest()
        found = client.environments.ListEnvironments(request, metadata=client.metadata, timeout=30).environments
    return [each.name for each in found]


def test_the_example_is_applied_as_it_says_and_a_plan_afterwards_is_empty(told: Terraform) -> None:
    assert told.changes() == 0
    with told.engine.client() as client:
        asked = notification_pb2.GetAlertRuleRequest(name=f"{PROD}/alertRules/failures")
        rule = client.notifications.GetAlertRule(asked, metadata=client.metadata, timeout=30)
        schedule = client.notifications.GetOnCallSchedule(
            notification_pb2.GetOnCallScheduleRequest(name=f"{PROD}/onCallSchedules/operators"),
            metadata=client.metadata,
            timeout=30,
        )
    assert (rule.template, rule.managed_by) == ("failures", "terraform")
    assert [step.after_seconds for step in rule.escalations] == [900, 1800]
    assert list(schedule.rotations["week"].stakeholders) == ["cho", "dia"]
    assert {each.display_name: each.addresses["mail"].to for each in stakeholders(told.engine)}[
        "Ada Meyer"
    ] == "ada@example.com"
    told.must("destroy", "-auto-approve")
    assert environments(told.engine) == []


def test_one_changed_address_is_one_changed_line_of_the_plan(told: Terraform) -> None:
    change(told, ('mail = "ada@example.com"', 'mail = "meyer@example.com"'))
    output = told.must("plan")
    assert "0 to add, 1 to change, 0 to destroy" in output
    [line] = [line for line in output.splitlines() if "->" in line]
    assert line.split() == ["~", "to", "=", '"ada@example.com"', "->", '"meyer@example.com"']
    assert 'pymigrate_stakeholder.people["ada"] will be updated in-place' in output
    told.must("apply", "-auto-approve")
    assert told.changes() == 0


def test_a_changed_text_is_another_version_and_another_name_of_the_template_is_not(told: Terraform) -> None:
    template = "pymigrate_notification_template.failures"
    change(told, ('"What failed"', '"What has failed"'))
    told.must("apply", "-auto-approve")
    assert told.resources()[template]["version"] == 1
    change(told, ("ist jetzt", "steht auf"))
    assert "~ version" in told.must("plan")
    told.must("apply", "-auto-approve")
    assert told.resources()[template]["version"] == 2
    assert told.changes() == 0


def test_somebody_who_leaves_is_taken_off_duty_before_they_are_deleted(told: Terraform) -> None:
    dia = next(line for line in EXAMPLE.read_text().splitlines(keepends=True) if line.startswith("    dia = "))
    reference = 'pymigrate_stakeholder.people["%s"].stakeholder_id'
    change(
        told,
        (dia, ""),
        (f"        {reference % 'dia'},\n", ""),
        (f"stakeholder = {reference % 'dia'}\n", f"stakeholder = {reference % 'ben'}\n"),
    )
    assert "0 added, 1 changed, 1 destroyed" in told.must("apply", "-auto-approve")
    assert [each.name.rpartition("/")[2] for each in stakeholders(told.engine)] == ["ada", "ben", "cho"]
    assert told.changes() == 0


def test_everything_of_the_example_is_imported_into_an_empty_plan(told: Terraform) -> None:
    names = {address: values["name"] for address, values in told.resources().items()}
    told.must("state", "rm", *names)
    assert told.resources() == {}
    blocks = "".join(f'import {{\n  to = {address}\n  id = "{name}"\n}}\n' for address, name in names.items())
    (told.folder / "imports.tf").write_text(blocks)
    assert f"{len(names)} to import, 0 to add, 0 to change, 0 to destroy" in told.must("plan")
    told.must("apply", "-auto-approve")
    assert told.changes() == 0


def test_a_template_that_does_not_render_is_refused_at_its_text(written: Terraform) -> None:
    change(written, ("ist jetzt {{ event.to_state }}", "ist jetzt {{ event.nonsense }}"))
    done = written.run("apply", "-auto-approve")
    assert done.code == 1
    told = " ".join(done.output.replace("│", " ").split())
    assert "NotificationTemplate can't be created" in told
    assert 'texts["german"].body: ' in told
    assert "nonsense" in told
    assert "german = {" in told


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('{{ event.subject }} ist', "{{ event.__class__ }} ist", 'texts["german"].body: '),
        ('figure = "errors.rate"', 'figure = "errors.ratio"', "did you mean `errors.rate`?"),
        ('start = "22:00"', 'start = "22.00"', 'quiet_hours["nights"].start: `22.00` must be a time of the day'),
        ('password = "env://SMTP_PASSWORD"', 'password = "pa55word"', "smtp.password: must be a reference"),
        ('"2026-01-05T08:00:00+01:00"', '"next monday"', 'rotations["week"].start_time: `next monday` must be a time'),
        ('parent_rule           = pymigrate_alert_rule.failures.alert_rule_id', 'parent_rule = "failure"', "parent_rule: "),
        ('mail = "ben@example.com"', 'mail = "ben@example.com\\nBcc: all@example.com"', 'addresses["mail"].to: '),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_at_its_place(written: Terraform, before: str, after: str, said: str) -> None:
    change(written, (before, after))
    done = written.run("apply", "-auto-approve")
    assert done.code == 1
    assert said in " ".join(done.output.replace("│", " ").split())
    assert "pa55word" not in done.output.partition("Error:")[2].replace('password = "pa55word"', "")


def test_a_rule_that_another_side_declares_is_left_alone(told: Terraform) -> None:
    rule = notification_pb2.AlertRule(
        display_name="By hand", recipients=notification_pb2.Recipients(roles=["operator"])
    )
    with told.engine.client() as client:
        client.notifications.CreateAlertRule(
            notification_pb2.CreateAlertRuleRequest(parent=PROD, alert_rule_id="hand", alert_rule=rule),
            metadata=client.metadata,
            timeout=30,
        )
    main = told.folder / "main.tf"
    main.write_text(
        f'{main.read_text()}\nresource "pymigrate_alert_rule" "hand" {{\n  environment = pymigrate_environment.prod.name\n'
        '  alert_rule_id = "hand"\n  recipients = { roles = ["engineer"] }\n}\n'
        f'import {{\n  to = pymigrate_alert_rule.hand\n  id = "{PROD}/alertRules/hand"\n}}\n'
    )
    done = told.run("apply", "-auto-approve")
    assert done.code == 1
    assert "is managed by cli, and terraform may not change it" in " ".join(done.output.replace("│", " ").split())
