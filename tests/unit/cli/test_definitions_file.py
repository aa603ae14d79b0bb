"""Definition files: read strictly, and refused before anything is built from what could do harm."""

from pathlib import Path

import pytest
import typer

from pymigrate.engine.entrypoints.cli.declared import in_order, read_documents
from pymigrate.engine.entrypoints.cli.declared_kinds import KINDS
from pymigrate.v1 import connection_pb2, environment_pb2, notification_pb2, plan_pb2

HEAD = "apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {name: e}\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def refused(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Why a file is refused."""
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(typer.Exit):
        read_documents(file)
    return capsys.readouterr().err


def test_several_documents_are_read_in_order(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(f"{HEAD}---\n{HEAD}---\n")
    assert len(read_documents(file)) == 2


def test_an_alias_bomb_is_refused_before_it_is_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "line 2: aliases are not allowed" in refused(tmp_path, BOMB, capsys)


def test_a_file_that_is_nested_too_deep_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nested" in refused(tmp_path, "[" * 200 + "]" * 200, capsys)


def test_what_is_no_yaml_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not YAML" in refused(tmp_path, "a: [", capsys)


def test_tags_build_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not YAML" in refused(tmp_path, "!!python/object/apply:os.system ['true']", capsys)


def test_a_document_without_the_envelope_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "apiVersion: pymigrate.io/v1alpha1" in refused(tmp_path, "kind: Plan\n", capsys)


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = HEAD.replace("Environment", "Enviroment")
    assert "Environment, SecretBackend, Connection, Department, Plan" in refused(tmp_path, text, capsys)


@pytest.mark.parametrize("value", ["2026-99-99", "2026-01-01 99:00:00", "9" * 5_000])
def test_a_date_or_number_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    assert "is not YAML" in refused(tmp_path, f"{HEAD}spec: {{description: {value}}}\n", capsys)


def test_what_is_no_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.yaml"
    file.write_bytes(b"a: \xff")
    with pytest.raises(typer.Exit):
        read_documents(file)
    assert "is not YAML" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[a, b]", "just words", f"{HEAD}---\n- a\n"])
def test_a_document_that_is_no_map_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert "every document begins with" in refused(tmp_path, text, capsys)


def test_a_merge_key_needs_an_alias_and_so_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "aliases are not allowed" in refused(tmp_path, "a: &a {x: 1}\nb: {<<: *a}\n", capsys)


def test_blocks_that_are_nested_too_deep_are_refused_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(f"{' ' * depth}a:\n" for depth in range(100))
    assert "nested" in refused(tmp_path, text, capsys)


def ordered(*found: tuple[str, str, object]) -> list[str]:
    """The last segments in the order in which they are applied."""
    return [name.rpartition("/")[2] for _, name, _ in in_order(found)]


def department(name: str, *dependencies: str) -> tuple[str, str, object]:
    """A department that needs others."""
    return "Department", f"environments/e/departments/{name}", environment_pb2.Department(dependencies=dependencies)


def test_what_is_named_is_applied_before_what_names_it_wherever_it_stands_in_the_file() -> None:
    plan = ("Plan", "environments/e/plans/p", plan_pb2.Plan())
    connection = ("Connection", "environments/e/connections/c", connection_pb2.Connection())
    environment = ("Environment", "environments/e", environment_pb2.Environment())
    assert ordered(plan, department("sales"), connection, environment) == ["e", "c", "sales", "p"]


def test_departments_and_plans_come_after_those_that_they_depend_on() -> None:
    first, second = (
        ("Plan", f"environments/e/plans/{name}", plan_pb2.Plan(dependencies=needs))
        for name, needs in (("a", ["b"]), ("b", []))
    )
    assert ordered(department("c", "b"), department("b", "a"), department("a")) == ["a", "b", "c"]
    assert ordered(first, second) == ["b", "a"]


def test_what_does_not_name_one_another_comes_as_it_was_given() -> None:
    assert ordered(department("z"), department("a"), department("m")) == ["z", "a", "m"]


def test_a_circle_comes_as_it_was_given_after_everything_else() -> None:
    assert ordered(department("a", "b"), department("b", "a"), department("c")) == ["c", "a", "b"]


def rule(name: str, parent: str = "") -> tuple[str, str, object]:
    """An alert rule that may lie below another."""
    return "AlertRule", f"environments/e/alertRules/{name}", notification_pb2.AlertRule(parent_rule=parent)


def test_rules_come_after_their_parents_and_after_whom_they_tell() -> None:
    ann = ("Stakeholder", "environments/e/stakeholders/ann", notification_pb2.Stakeholder())
    mail = ("NotificationChannel", "environments/e/notificationChannels/mail", notification_pb2.NotificationChannel())
    assert ordered(rule("c", "b"), rule("b", "a"), ann, rule("a"), mail) == ["mail", "ann", "a", "b", "c"]


def test_every_kind_is_named_as_its_collection_and_its_requests_have_it() -> None:
    named = {kind.word: (kind.name("e", "x"), kind.field) for kind in KINDS.values()}
    assert named["Environment"] == ("environments/x", "environment")
    assert named["OnCallSchedule"] == ("environments/e/onCallSchedules/x", "on_call_schedule")
    assert named["Silence"] == ("environments/e/silences/x", "silence")


def test_a_definition_sets_nothing_that_only_the_engine_tells() -> None:
    assert KINDS["NotificationTemplate"].settable() == ["display_name", "types", "texts", "labels"]
    assert KINDS["Silence"].settable() == ["reason", "match", "start_time", "end_time"]


def test_an_environment_comes_after_everything_of_its_bases_and_before_what_lies_in_it() -> None:
    names = [
        ("Plan", "environments/prod/plans/own", plan_pb2.Plan()),
        ("Department", "environments/base/departments/hr", environment_pb2.Department(dependencies=["sales"])),
        ("Plan", "environments/base/plans/p", plan_pb2.Plan()),
        ("Environment", "environments/prod", environment_pb2.Environment(bases=["eu"])),
        ("Environment", "environments/eu", environment_pb2.Environment(bases=["base"])),
        ("Department", "environments/base/departments/sales", environment_pb2.Department()),
        ("Environment", "environments/base", environment_pb2.Environment()),
    ]
    assert [name.removeprefix("environments/") for _, name, _ in in_order(names)] == [
        "base",
        "base/departments/sales",
        "base/departments/hr",
        "base/plans/p",
        "eu",
        "prod",
        "prod/plans/own",
    ]
