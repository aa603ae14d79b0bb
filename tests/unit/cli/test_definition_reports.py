"""Reports about definitions: what people read, and what pipelines do."""

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pymigrate.engine.application.gitops.envelopes import read_definitions
from pymigrate.engine.entrypoints.cli.definition_reports import (
    FORMATS,
    RULES,
    Report,
    as_json,
    as_junit,
    as_sarif,
    checked_lines,
    difference_lines,
    outcome_lines,
    problem_line,
)
from pymigrate.v1 import definition_pb2 as pb

HEAD = "apiVersion: pymigrate.io/v1alpha1\n"
TEXT = (
    f"{HEAD}kind: Department\nmetadata: {{name: a, environment: e}}\n---\n"
    f"{HEAD}kind: Department\nmetadata: {{name: b, environment: e}}\n---\n"
    f"{HEAD}kind: Environment\nmetadata: {{name: e}}\n"
)
A, B, GONE = (f"environments/e/departments/{name}" for name in ("a", "b", "gone"))
CHANGES = [
    pb.DefinitionChange(
        name=A,
        kind="Department",
        action=pb.CHANGE_ACTION_UPDATE,
        file="a.yaml",
        line=1,
        fields=[pb.FieldChange(path="owner", before='"Ann"', after='"Bob"'), pb.FieldChange(path="users", after="7")],
    ),
    pb.DefinitionChange(name=GONE, kind="Department", action=pb.CHANGE_ACTION_DELETE),
    pb.DefinitionChange(
        name="environments/e/plans/p", kind="Plan", action=pb.CHANGE_ACTION_KEEP, reason="it holds data"
    ),
]
PROBLEM = pb.DefinitionProblem(
    file="a b/ä.yaml", line=3, column=5, name=A, path="spec.owner", description="must be <text> & so\x1b", rule="shape"
)
WHOLE = pb.DefinitionProblem(description="too many files", rule="file")
OF_FILE = pb.DefinitionProblem(file="c.yaml", description="is too large", rule="file")


def report(
    *,
    changes: list[pb.DefinitionChange] = CHANGES,
    problems: list[pb.DefinitionProblem] | None = None,
    command: str = "diff",
    **rest: Any,
) -> Report:
    """A report about three definitions."""
    answer = pb.ApplyDefinitionsResponse(changes=changes, problems=problems or [], unchanged_count=2, **rest)
    read = read_definitions([pb.DefinitionFile(path="a.yaml", content=TEXT.encode())])
    return Report(command, answer, read.definitions, ["a.yaml"])


def test_outcomes_come_in_the_order_of_applying_then_what_no_file_declares() -> None:
    assert list(outcome_lines(report())) == [
        "environments/e unchanged",
        f"{A} updated",
        f"{B} unchanged",
        f"{GONE} deleted",
        "environments/e/plans/p kept: it holds data",
    ]


def test_differences_are_told_field_by_field_with_how_many_there_are() -> None:
    plan = pb.PlanChange(plan="environments/e/plans/p", plan_hash_before="1" * 64, plan_hash="2" * 64)
    assert list(difference_lines(report(plans=[plan], skipped_count=3))) == [
        f"~ {A} (a.yaml:1)",
        '    owner: "Ann" → "Bob"',
        "    users: (nothing) → 7",
        f"- {GONE}",
        "= environments/e/plans/p: it holds data",
        "  environments/e/plans/p: plan hash 111111111111 → 222222222222",
        "1 updated, 1 deleted, 1 kept, 2 unchanged; 3 of other environments skipped",
    ]


def test_what_is_kept_is_no_difference() -> None:
    assert report().differs
    assert not report(changes=CHANGES[2:]).differs


def test_a_problem_is_a_line_with_its_place() -> None:
    assert problem_line(PROBLEM).startswith("a b/ä.yaml:3:5: spec.owner: must be")
    assert problem_line(OF_FILE) == "c.yaml: is too large"
    assert problem_line(WHOLE) == "too many files"


def test_what_was_checked_is_counted() -> None:
    assert list(checked_lines(report())) == ["3 definitions in 1 file: valid"]


def test_json_is_the_answer_in_the_shape_of_the_contract() -> None:
    found = json.loads(as_json(report(problems=[PROBLEM])))
    assert found["changes"][0]["action"] == "update"
    assert found["problems"][0]["line"] == 3
    assert found["unchangedCount"] == 2


def test_sarif_names_rule_place_and_a_fingerprint_that_stays_when_lines_move() -> None:
    moved = pb.DefinitionProblem()
    moved.CopyFrom(PROBLEM)
    moved.line = 30
    found = json.loads(as_sarif(report(problems=[PROBLEM, moved, OF_FILE, WHOLE])))
    assert found["version"] == "2.1.0"
    (run,) = found["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == list(RULES)
    first, second, third, last = run["results"]
    assert rules[first["ruleIndex"]] == first["ruleId"] == "shape"
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20b/%C3%A4.yaml"
    assert place["region"] == {"startLine": 3, "startColumn": 5}
    assert first["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == A
    assert first["partialFingerprints"] == second["partialFingerprints"] != third["partialFingerprints"]
    assert "region" not in third["locations"][0]["physicalLocation"]
    assert "locations" not in last


def test_sarif_without_problems_has_no_results() -> None:
    assert json.loads(as_sarif(report()))["runs"][0]["results"] == []


def test_junit_has_a_case_for_each_object_and_each_file_that_is_wrong_as_a_whole() -> None:
    suite = ET.fromstring(as_junit(report(problems=[PROBLEM, PROBLEM, OF_FILE, WHOLE])))[0]
    assert (suite.get("tests"), suite.get("failures")) == ("6", "3")
    cases = {(case.get("classname"), case.get("name")): case for case in suite}
    failure = cases["a b/ä.yaml", A].find("failure")
    assert failure is not None
    assert failure.get("type") == "shape"
    assert (failure.text or "").count("must be <text> & so�") == 2
    assert cases["c.yaml", "c.yaml"].find("failure") is not None
    assert cases["diff", "diff"].find("failure") is not None
    assert cases["a.yaml", B].find("failure") is None


def test_junit_tells_what_becomes_of_an_object_but_not_where_files_are_only_checked() -> None:
    told = ET.fromstring(as_junit(report()))[0].findall("testcase/system-out")
    assert [each.text for each in told] == ["updated"]
    assert ET.fromstring(as_junit(report(command="validate")))[0].findall("testcase/system-out") == []


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
def test_every_report_holds_whatever_files_say(form: Any) -> None:
    odd = pb.DefinitionProblem(file="\u2028\x85]]>", line=1, name="\x00\x01", description="\ufffe\x7f<!--", rule="odd")
    assert form(report(problems=[odd]))
