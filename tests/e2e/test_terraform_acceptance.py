"""Every kind of declared object through the life of a resource: applied, changed, drifted, gone, imported, moved, replaced, destroyed."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pymigrate.provider.sdk import planning
from tests.e2e.acceptance import DECLARED, Stage, attached, engine
from tests.e2e.engines import EngineProcess

__all__ = ["attached", "engine"]
NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Case:
    """One object of the pages' examples: its address, a line of it that is changed, and what another side makes of it."""

    address: str
    before: str
    after: str
    drift: dict[str, Any] = field(default_factory=dict)


CASES = {
    "environment": Case("pymigrate_environment.prod", '"Production"', '"Live"', {"display_name": "Theirs"}),
    "department": Case("pymigrate_department.sales", "users                = 120", "users = 121", {"users": 7}),
    "secret_backend": Case(
        "pymigrate_secret_backend.vault", '"pymigrate-prod"', '"pymigrate-live"', {"cache_seconds": 9}
    ),
    "connection": Case("pymigrate_connection.crm", "lanes_max     = 4", "lanes_max = 5", {"lanes_max": 9}),
    "plan": Case(
        "pymigrate_plan.warehouse", '"One warehouse for all departments"', '"One"', {"display_name": "Theirs"}
    ),
    "phase": Case("pymigrate_phase.customers", 'verification = "full"', 'verification = "sampled"', {"priority": 3}),
    "notification_channel": Case(
        "pymigrate_notification_channel.mail", '"mail.example.com"', '"relay.example.com"', {"tries_max": 3}
    ),
    "stakeholder": Case("pymigrate_stakeholder.ada", '"ada@example.com"', '"meyer@example.com"', {"is_paused": True}),
    "notification_template": Case(
        "pymigrate_notification_template.failures", "went from", "came from", {"display_name": "Theirs"}
    ),
    "on_call_schedule": Case(
        "pymigrate_on_call_schedule.owners", "turn_days    = 7", "turn_days = 14", {"time_zone": ""}
    ),
    "alert_rule": Case("pymigrate_alert_rule.failures", "after_seconds = 900", "after_seconds = 600", {"order": 7}),
    "git_source": Case(
        "pymigrate_git_source.staging", '"file:///run/secrets/git_token"', '"env://GIT_TOKEN"', {"interval_seconds": 30}
    ),
    "role_binding": Case(
        "pymigrate_role_binding.operators", '"Whoever runs the warehouse"', '"The warehouse"', {"description": "Theirs"}
    ),
    "silence": Case("pymigrate_silence.rehearsals", "fail on purpose", "may fail", {"reason": "Theirs"}),
}


@pytest.fixture
def stage(require_terraform: str, engine: EngineProcess, attached: str, tmp_path: Path) -> Stage:
    """An empty working directory."""
    return Stage(require_terraform, tmp_path / "stage", engine, attached, f"stage-{next(NUMBERS)}")


@pytest.fixture
def applied(stage: Stage) -> Stage:
    """Everything declared and applied."""
    stage.declare(*CASES)
    stage.must("apply", "-auto-approve")
    return stage


def test_every_declared_kind_has_a_case() -> None:
    assert CASES.keys() == DECLARED.keys()


def test_what_was_applied_has_an_empty_plan_and_its_destruction_leaves_nothing(applied: Stage) -> None:
    assert applied.planned() == {}
    applied.destroy()


@pytest.mark.parametrize("noun", CASES)
def test_a_change_is_made_in_place_and_touches_nothing_else(applied: Stage, noun: str) -> None:
    case = CASES[noun]
    uid = applied.resources()[case.address]["uid"]
    applied.declare(*CASES, change=lambda text: text.replace(case.before, case.after, 1))
    assert applied.planned() == {case.address: ["update"]}
    applied.must("apply", "-auto-approve")
    assert applied.planned() == {}
    assert applied.resources()[case.address]["uid"] == uid


@pytest.mark.parametrize("noun", CASES)
def test_what_another_side_changed_is_seen_and_changed_back(applied: Stage, noun: str) -> None:
    case = CASES[noun]
    name = applied.resources()[case.address]["name"]
    before = applied.find(noun, name)
    applied.change_elsewhere(noun, name, **case.drift)
    assert applied.planned() == {case.address: ["update"]}
    applied.must("apply", "-auto-approve")
    after = applied.find(noun, name)
    assert {part: getattr(after, part) for part in case.drift} == {part: getattr(before, part) for part in case.drift}
    assert applied.planned() == {}


@pytest.mark.parametrize("noun", CASES)
def test_an_apply_that_has_not_seen_a_change_of_another_side_does_not_overwrite_it(applied: Stage, noun: str) -> None:
    case = CASES[noun]
    name = applied.resources()[case.address]["name"]
    applied.declare(*CASES, change=lambda text: text.replace(case.before, case.after, 1))
    applied.must("plan", f"-out={applied.folder / 'saved'}")
    applied.change_elsewhere(noun, name, **case.drift)
    done = applied.run("apply", str(applied.folder / "saved"))
    assert done.code == 1
    told = " ".join(done.output.replace("│", " ").split())
    assert f"{name} was changed elsewhere and is not changed" in told
    for part, value in case.drift.items():
        assert f"{part}: " in told
        assert str(value) in told
        assert getattr(applied.find(noun, name), part) == value


def test_a_destruction_that_has_not_seen_a_change_of_another_side_leaves_the_object(applied: Stage) -> None:
    name = applied.resources()["pymigrate_phase.customers"]["name"]
    applied.must("plan", "-destroy", f"-out={applied.folder / 'saved'}")
    applied.change_elsewhere("phase", name, priority=3)
    done = applied.run("apply", str(applied.folder / "saved"))
    assert done.code == 1
    assert "was changed elsewhere and is not deleted" in done.output
    assert applied.find("phase", name).priority == 3
    applied.destroy()


def test_what_is_gone_is_made_again(applied: Stage) -> None:
    everything = {address: values["name"] for address, values in applied.resources().items()}
    left = list(everything.items())
    while left:  # what others need is refused, and goes after them
        address, name = left.pop(0)
        noun = address.partition(".")[0].removeprefix("pymigrate_")
        if not applied.is_deleted_elsewhere(noun, name):
            left.append((address, name))
    assert applied.planned() == {address: ["create"] for address in everything}
    applied.must("apply", "-auto-approve")
    assert applied.planned() == {}


def test_everything_is_imported_as_its_page_says_with_the_same_attributes(applied: Stage) -> None:
    before, names = applied.resources(), applied.imports()
    assert {address.partition(".")[0].removeprefix("pymigrate_") for address in names} == CASES.keys()
    applied.must("state", "rm", *names)
    for address, name in names.items():
        applied.must("import", address, name)
    for address, values in applied.resources().items():
        attributes = DECLARED[address.partition(".")[0].removeprefix("pymigrate_")].attributes()
        assert list(planning.changes(attributes, before[address], values)) == []
    assert applied.planned() == {}


def test_a_configuration_is_generated_for_what_is_imported_by_blocks(applied: Stage) -> None:
    names = {address: values["name"] for address, values in applied.resources().items()}
    applied.must("state", "rm", *names)
    applied.write("".join(f'import {{\n  to = {address}\n  id = "{name}"\n}}\n' for address, name in names.items()))
    generated = applied.folder / "generated.tf"
    said = applied.must("plan", f"-generate-config-out={generated}")
    assert f"{len(names)} to import, 0 to add, 0 to change, 0 to destroy" in said
    applied.must("apply", "-auto-approve")
    assert applied.planned() == {}


def test_what_is_moved_to_another_address_is_the_same_object(applied: Stage) -> None:
    moves = "".join(f"moved {{\n  from = {address}\n  to = {address}_moved\n}}\n" for address in applied.resources())

    def moved(text: str) -> str:
        for address in applied.resources():
            kind, _, label = address.partition(".")
            text = text.replace(f'"{kind}" "{label}"', f'"{kind}" "{label}_moved"')
            text = text.replace(f"{address}.", f"{address}_moved.")
        return text

    applied.declare(*CASES, change=lambda text: moved(text) + moves)
    assert applied.planned() == {}
    applied.must("apply", "-auto-approve")
    assert all(address.endswith("_moved") for address in applied.resources())


def test_another_id_is_another_object(applied: Stage) -> None:
    applied.declare(*CASES, change=lambda text: text.replace('phase_id        = "customers"', 'phase_id = "clients"'))
    assert applied.planned() == {"pymigrate_phase.customers": ["delete", "create"]}
    applied.must("apply", "-auto-approve")
    assert applied.planned() == {}
    applied.destroy()


def test_what_others_need_is_replaced_before_it_is_destroyed_where_that_is_asked_for(applied: Stage) -> None:
    def renamed(text: str) -> str:
        fresh = 'connection_id = "crm2"\n  lifecycle { create_before_destroy = true }'
        return text.replace('connection_id = "crm"', fresh)

    applied.declare(*CASES, change=renamed)
    applied.must("apply", "-auto-approve")
    assert applied.planned() == {}
    assert applied.resources()["pymigrate_connection.crm"]["connection_id"] == "crm2"
