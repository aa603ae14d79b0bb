"""The order in which definitions are applied: each after those that it names."""

from google.protobuf.message import Message

from pymigrate.engine.application.gitops.definition import Definition, Place
from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.application.gitops.definition_order import in_order
from pymigrate.v1 import connection_pb2, environment_pb2, git_source_pb2, notification_pb2, plan_pb2

Found = tuple[str, str, Message]


def definition(word: str, name: str, message: Message) -> Definition:
    """One of a file."""
    return Definition(DEFINITION_KINDS[word].kind, word, name, message, "a.yaml", 1, lambda path: Place(1, 1))


def ordered(*found: Found) -> list[str]:
    """The last segments in the order in which they are applied."""
    return [each.name.rpartition("/")[2] for each in in_order(definition(*each) for each in found)]


def department(name: str, *dependencies: str) -> Found:
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


def rule(name: str, parent: str = "") -> Found:
    """An alert rule that may lie below another."""
    return "AlertRule", f"environments/e/alertRules/{name}", notification_pb2.AlertRule(parent_rule=parent)


def test_rules_come_after_their_parents_and_after_whom_they_tell() -> None:
    ann = ("Stakeholder", "environments/e/stakeholders/ann", notification_pb2.Stakeholder())
    mail = ("NotificationChannel", "environments/e/notificationChannels/mail", notification_pb2.NotificationChannel())
    assert ordered(rule("c", "b"), rule("b", "a"), ann, rule("a"), mail) == ["mail", "ann", "a", "b", "c"]


def test_a_git_source_comes_after_that_which_it_is_promoted_from() -> None:
    prod = git_source_pb2.GitSource(promotion=git_source_pb2.GitPromotion(promoted_from="dev"))
    sources = ("GitSource", "gitSources/prod", prod), ("GitSource", "gitSources/dev", git_source_pb2.GitSource())
    assert ordered(*sources) == ["dev", "prod"]


def test_an_environment_comes_after_everything_of_its_bases_and_before_what_lies_in_it() -> None:
    names: list[Found] = [
        ("Plan", "environments/prod/plans/own", plan_pb2.Plan()),
        ("Department", "environments/base/departments/hr", environment_pb2.Department(dependencies=["sales"])),
        ("Plan", "environments/base/plans/p", plan_pb2.Plan()),
        ("Environment", "environments/prod", environment_pb2.Environment(bases=["eu"])),
        ("Environment", "environments/eu", environment_pb2.Environment(bases=["base"])),
        ("Department", "environments/base/departments/sales", environment_pb2.Department()),
        ("Environment", "environments/base", environment_pb2.Environment()),
    ]
    found = in_order(definition(*each) for each in names)
    assert [each.name.removeprefix("environments/") for each in found] == [
        "base",
        "base/departments/sales",
        "base/departments/hr",
        "base/plans/p",
        "eu",
        "prod",
        "prod/plans/own",
    ]
