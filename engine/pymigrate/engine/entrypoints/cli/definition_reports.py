"""What became, or would become, of definitions, as people and pipelines read it: text, JSON, SARIF 2.1.0 and JUnit's XML."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from pymigrate.engine.application.gitops.definition import Definition
from pymigrate.engine.application.gitops.definition_order import in_order
from pymigrate.v1 import definition_pb2
from pymigrate.v1.definition_pb2 import ApplyDefinitionsResponse, DefinitionChange, DefinitionProblem, PlanChange
from pymigrate.v1.shape import enum_word, to_json_data

RULES: Mapping[str, str] = {
    "yaml": "A file that is no YAML or JSON, or holds what is refused in it.",
    "envelope": "A document that is not in the envelope of apiVersion, kind, metadata and spec.",
    "shape": "A field that the kind does not have, or a value that does not fit it.",
    "duplicate": "An object that is declared twice.",
    "invalid": "A definition that contradicts itself or others.",
    "refused": "An object that the caller may not change.",
    "secret": "A secret written out where a reference to it belongs.",
    "file": "A file that can't be read as a whole.",
}
"""What kinds of problems there are."""
_DONE = {"create": "created", "update": "updated", "delete": "deleted", "keep": "kept"}
_SIGNS = {"create": "+", "update": "~", "delete": "-", "keep": "="}
_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_NAMESPACE = "pymigrateProblem/v1"
_VALUE_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Report:
    """The answer of the engine, and what the files declare, which is what it is about. `command` is the word that was given."""

    command: str
    answer: ApplyDefinitionsResponse
    definitions: Sequence[Definition]
    paths: Sequence[str]

    @property
    def differs(self) -> bool:
        """Whether applying changes anything."""
        return any(each.action != definition_pb2.CHANGE_ACTION_KEEP for each in self.answer.changes)


def problem_line(problem: DefinitionProblem) -> str:
    """A problem on a line of its own: where, and what."""
    where = problem.file
    if problem.file and problem.line:
        where += f":{problem.line}" + (f":{problem.column}" if problem.column else "")
    return ": ".join(part for part in (where, problem.path or problem.name, problem.description) if part)


def outcome_lines(report: Report) -> Iterator[str]:
    """Each object with what became of it, in the order in which they are applied."""
    changes = {each.name: each for each in report.answer.changes}
    for each in in_order(report.definitions):
        change = changes.pop(each.name, None)
        yield f"{each.name} {_DONE[_action(change)] if change is not None else 'unchanged'}"
    for change in changes.values():
        yield f"{change.name} {_DONE[_action(change)]}" + (f": {change.reason}" if change.reason else "")


def change_lines(changes: Iterable[DefinitionChange]) -> Iterator[str]:
    """Each difference with the fields that differ."""
    for change in changes:
        where = f" ({change.file}:{change.line})" if change.file else ""
        yield f"{_SIGNS[_action(change)]} {change.name}{where}" + (f": {change.reason}" if change.reason else "")
        for field in change.fields:
            yield f"    {field.path}: {_cut(field.before) or '(nothing)'} → {_cut(field.after) or '(nothing)'}"


def plan_lines(plans: Iterable[PlanChange]) -> Iterator[str]:
    """The plans that another revision is executed of from now on."""
    for plan in plans:
        if plan.plan_hash_before and plan.plan_hash and plan.plan_hash_before != plan.plan_hash:
            yield f"  {plan.plan}: plan hash {plan.plan_hash_before[:12]} → {plan.plan_hash[:12]}"


def difference_lines(report: Report) -> Iterator[str]:
    """Each difference with the fields that differ, and how many there are."""
    yield from change_lines(report.answer.changes)
    yield from plan_lines(report.answer.plans)
    counts = Counter(_action(change) for change in report.answer.changes)
    told = [f"{counts[action]} {done}" for action, done in _DONE.items() if counts[action]]
    yield f"{', '.join([*told, f'{report.answer.unchanged_count} unchanged'])}{_skipped(report)}"


def checked_lines(report: Report) -> Iterator[str]:
    """What was looked at."""
    count = len(report.definitions)
    yield f"{count} {_plural(count, 'definition')} in {len(report.paths)} {_plural(len(report.paths), 'file')}: valid{_skipped(report)}"


def as_json(report: Report) -> str:
    """The answer in the shape of the contract."""
    return json.dumps(to_json_data(report.answer), indent=2, ensure_ascii=False)


def as_sarif(report: Report) -> str:
    """Problems as results of SARIF 2.1.0, with places relative to where the command ran."""
    rules = list(RULES)
    results = [_result(each, rules) for each in report.answer.problems]
    driver = {
        "name": "PyMigrate",
        "semanticVersion": version("pymigrate"),
        "rules": [
            {
                "id": rule,
                "name": f"{rule.capitalize()}Definition",
                "shortDescription": {"text": about},
                "defaultConfiguration": {"level": "error"},
            }
            for rule, about in RULES.items()
        ],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def as_junit(report: Report) -> str:
    """A case for each object that is declared, and for each file that has problems of its own; a failure holds all of one's problems."""
    failures: dict[tuple[str, str], list[DefinitionProblem]] = {}
    for problem in report.answer.problems:
        failures.setdefault((problem.file, problem.name or problem.file or report.command), []).append(problem)
    changes = {each.name: each for each in report.answer.changes}
    sound = [(each.file, each.name) for each in report.definitions if (each.file, each.name) not in failures]
    cases = [*sound, *failures]
    suite = ET.Element(
        "testsuite",
        name=f"pymigrate {report.command}",
        tests=str(len(cases)),
        failures=str(len(failures)),
        errors="0",
        skipped="0",
    )
    for file, name in cases:
        case = ET.SubElement(suite, "testcase", classname=_printable(file or report.command), name=_printable(name))
        if file:
            case.set("file", _printable(file))
        if problems := failures.get((file, name)):
            lines = [_printable(problem_line(each)) for each in problems]
            failure = ET.SubElement(case, "failure", message=lines[0], type=problems[0].rule)
            failure.text = "\n".join(lines)
        elif name in changes and report.command != "validate":
            ET.SubElement(case, "system-out").text = _printable(_DONE[_action(changes[name])])
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode")


FORMATS: Mapping[str, Callable[[Report], str]] = {"json": as_json, "sarif": as_sarif, "junit": as_junit}
"""By the word that asks for them; text is told by the command itself."""


def _result(problem: DefinitionProblem, rules: list[str]) -> dict[str, Any]:
    rule = problem.rule if problem.rule in rules else "invalid"
    parts = (rule, problem.file, problem.name, problem.path, problem.description)
    result: dict[str, Any] = {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": "error",
        "message": {"text": ": ".join(part for part in (problem.path, problem.description) if part)},
        "partialFingerprints": {_NAMESPACE: hashlib.sha256("\0".join(parts).encode()).hexdigest()},
    }
    location: dict[str, Any] = {}
    if problem.file:
        place: dict[str, Any] = {"artifactLocation": {"uri": quote(problem.file, safe="/"), "uriBaseId": "%SRCROOT%"}}
        if problem.line:
            place["region"] = {"startLine": problem.line, **({"startColumn": problem.column} if problem.column else {})}
        location["physicalLocation"] = place
    if problem.name:
        location["logicalLocations"] = [{"fullyQualifiedName": problem.name, "kind": "object"}]
    if location:
        result["locations"] = [location]
    return result


def _action(change: DefinitionChange) -> str:
    return enum_word(definition_pb2.ChangeAction.DESCRIPTOR, change.action)


def _skipped(report: Report) -> str:
    count = report.answer.skipped_count
    return f"; {count} of other environments skipped" if count else ""


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE_CHARACTERS_MAX else f"{text[:_VALUE_CHARACTERS_MAX]}…"


def _printable(text: str) -> str:
    """Text without what XML can't hold."""
    return "".join(each if each == "\n" or each.isprintable() else "�" for each in text)
