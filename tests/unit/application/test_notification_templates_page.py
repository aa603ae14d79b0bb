"""docs/notification_templates.md names everything that a template reads, and every filter, test and role that there is; no more."""

import re
from pathlib import Path
from typing import Any

import yaml

from pymigrate.engine.adapters.rendering.vocabulary import FILTERS, TESTS
from pymigrate.engine.application.default_texts import ROLES
from pymigrate.engine.application.notice_samples import sample_contexts
from pymigrate.engine.application.template_checks import template_problems
from pymigrate.v1 import notification_pb2
from pymigrate.v1.shape import from_data
from tests.unit.application.frozen import SandboxRenderer

PAGE = (Path(__file__).parents[3] / "docs" / "notification_templates.md").read_text()
READS = PAGE.partition("## What a template reads")[2]
LANGUAGE = PAGE.partition("## The language")[2].partition("## What a template reads")[0]
OPEN = frozenset({"plan.labels", "kpis.phases", "kpis.lanes"})  # maps by names that nobody knows beforehand


def _leaves(value: Any, path: str) -> set[str]:
    if isinstance(value, dict) and path not in OPEN:
        return {leaf for name, each in value.items() for leaf in _leaves(each, f"{path}.{name}" if path else name)}
    return {path}


def _named(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_.0-9]+)(?:\([^`]*\))?`", text))


def test_everything_that_a_template_reads_is_named_and_nothing_else() -> None:
    whole, _ = sample_contexts("lane.failed")
    leaves = _leaves(whole, "")
    named = {name for row in READS.splitlines() if row.startswith("| `") for name in _named(row.split("|")[1])}
    assert leaves - named == set()
    assert named - leaves == {"event"}


def test_every_filter_and_every_test_is_named() -> None:
    assert set(FILTERS) - _named(LANGUAGE) == set()
    assert {name for name in TESTS if name.isalpha()} - _named(LANGUAGE) - {
        "eq", "equalto", "ge", "greaterthan", "gt", "le", "lessthan", "lt", "ne",
    } == set()  # fmt: skip


async def test_the_template_that_it_shows_renders() -> None:
    (document,) = yaml.safe_load_all(PAGE.partition("```yaml\n")[2].partition("```")[0])
    template = notification_pb2.NotificationTemplate()
    from_data(document["spec"], template)
    assert len(template.texts) == 3
    assert await template_problems(template, template.types, SandboxRenderer()) == []


async def test_the_problem_that_it_shows_is_told_so() -> None:
    text = notification_pb2.TemplateText(subject="s", body="a\n{{ event.failure.reason }}")
    template = notification_pb2.NotificationTemplate(texts={"en": text})
    (problem,) = await template_problems(template, ["phase.published"], SandboxRenderer())
    assert f"notification_template.{problem.field}: {problem.description}" in PAGE


def test_every_role_is_named() -> None:
    assert {row.split("`")[1] for row in PAGE.splitlines() if row.startswith("| `")} >= set(ROLES)
