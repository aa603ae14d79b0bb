"""Templates are rendered before they are stored, for every type that they are for or that a rule tells by them; so are those that rules
name."""

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.event_types import EVENT_TYPES, types_named
from pymigrate.engine.application.notification_kinds import ALERT_RULES, NOTIFICATION_TEMPLATES
from pymigrate.engine.application.template_writes import TemplateWrites, own_types, told_types
from pymigrate.engine.domain.errors import InvalidDefinition, StaleWrite
from pymigrate.engine.testing.rendering import PlainRenderer
from pymigrate.v1 import notification_pb2
from tests.unit.application import noticed
from tests.unit.application.engines import ENVIRONMENT, ME, Engine

WRONG = {"en": {"subject": "{{ event.type }}", "body": "first\n{{ event.colour }}"}}


@pytest.fixture
async def declared(engine: Engine) -> Engine:
    """An engine with an environment that declares one of each."""
    await noticed.declare_notices(engine)
    return engine


@pytest.fixture
def writes(declared: Engine) -> TemplateWrites:
    return TemplateWrites(declared.store, PlainRenderer())


def template_write(engine: Engine, texts: Mapping[str, Any], *, is_dry: bool = True) -> Any:
    """A write of the stored template's texts."""
    name = f"{ENVIRONMENT}/notificationTemplates/short"
    message = noticed.read(NOTIFICATION_TEMPLATES, {"name": name, "texts": texts})
    mask = FieldMask(paths=["texts"])
    return lambda unit: engine.catalog.update(unit, NOTIFICATION_TEMPLATES, message, mask, ME, is_dry=is_dry)


def rule_write(engine: Engine, name: str, **fields: Any) -> Any:
    """A write of a stored rule's fields, without storing it."""
    message = noticed.read(ALERT_RULES, {"name": f"{ENVIRONMENT}/alertRules/{name}", **fields})
    mask = FieldMask(paths=["match", "template"])
    return lambda unit: engine.catalog.update(unit, ALERT_RULES, message, mask, ME, is_dry=True)


async def add(engine: Engine, *args: Any) -> None:
    await engine.store.transact(lambda unit: noticed.add(engine, unit, *args))


async def refused(checking: Any) -> dict[str, str]:
    with pytest.raises(InvalidDefinition) as error:
        await checking
    return {problem.field: problem.description for problem in error.value.problems}


async def test_a_template_that_renders_may_be_stored(declared: Engine, writes: TemplateWrites) -> None:
    write = template_write(declared, {"en": {"subject": "{{ event.type }}", "body": "told"}})
    checked = await writes.check_template(write)
    await declared.store.transact(checked)


async def test_a_template_that_does_not_render_is_refused_at_its_part_and_line(
    declared: Engine, writes: TemplateWrites
) -> None:
    found = await refused(writes.check_template(template_write(declared, WRONG)))
    assert "line 2" in found["notification_template.texts.en.body"]
    assert "event.colour" in found["notification_template.texts.en.body"]


async def test_a_template_is_rendered_for_what_it_is_for_and_what_rules_tell_by_it(declared: Engine) -> None:
    renderer = PlainRenderer()
    write = template_write(declared, {"en": {"subject": "{{ event.type }}", "body": "told"}})
    await TemplateWrites(declared.store, renderer).check_template(write)
    rendered = {request.context["event"]["type"] for request in renderer.asked}
    assert rendered == types_named("phase.*") | types_named("run.*")


async def test_a_rule_whose_template_can_not_tell_what_it_matches_is_refused(
    declared: Engine, writes: TemplateWrites
) -> None:
    await declared.store.transact(template_write(declared, WRONG, is_dry=False))
    found = await refused(writes.check_rule(rule_write(declared, "failures", template="short")))
    assert "`short` can't tell what the rule matches: texts.en.body" in found["alert_rule.template"]


async def test_a_rule_above_is_refused_for_the_template_of_one_below(declared: Engine, writes: TemplateWrites) -> None:
    await declared.store.transact(template_write(declared, WRONG, is_dry=False))
    below = {"parentRule": "lag", "match": {"types": ["run.failed"]}, "template": "short"}
    await add(declared, ALERT_RULES, "below", below)
    await refused(writes.check_rule(rule_write(declared, "lag", match={"types": ["run.*"]})))


async def test_a_rule_without_a_template_renders_nothing(declared: Engine) -> None:
    renderer = PlainRenderer()
    await TemplateWrites(declared.store, renderer).check_rule(rule_write(declared, "lag", match={"types": ["run.*"]}))
    assert renderer.asked == []


async def test_a_write_that_comes_between_is_not_passed_over(declared: Engine, writes: TemplateWrites) -> None:
    checked = await writes.check_template(template_write(declared, {"en": {"subject": "s", "body": "told"}}))
    more = {"match": {"types": ["gate.approved"]}, "recipients": {"roles": ["x"]}, "template": "short"}
    await add(declared, ALERT_RULES, "more", more)
    with pytest.raises(StaleWrite, match="try again"):
        await declared.store.transact(checked)


def rules(**matches: Mapping[str, Any]) -> dict[str, notification_pb2.AlertRule]:
    return {
        name: noticed.read(ALERT_RULES, {"name": f"{ENVIRONMENT}/alertRules/{name}", **fields})
        for name, fields in matches.items()
    }


def test_a_rule_tells_what_it_and_every_one_above_it_match() -> None:
    found = rules(
        top={"match": {"types": ["run.*", "phase.failed"]}},
        middle={"parentRule": "top"},
        leaf={"parentRule": "middle", "match": {"types": ["phase.*", "run.failed"]}},
    )
    assert told_types(found["leaf"], found) == {"phase.failed", "run.failed"}


def test_a_rule_that_finds_tells_what_it_finds() -> None:
    found = rules(
        figure={"match": {"kpi": {"figure": "rows"}}},
        drift={"match": {"driftMin": 0.5}},
        window={"match": {"windowClosesSeconds": 60}},
    )
    assert told_types(found["figure"], found) == {"kpi.crossed", "kpi.recovered"}
    assert told_types(found["drift"], found) == {"drift.crossed", "drift.recovered"}
    assert told_types(found["window"], found) == {"window.closing"}


def test_a_rule_in_a_circle_ends_all_the_same() -> None:
    found = rules(a={"parentRule": "b"}, b={"parentRule": "a"})
    assert told_types(found["a"], found) == EVENT_TYPES


def test_a_template_that_says_nothing_is_for_every_type() -> None:
    assert own_types(notification_pb2.NotificationTemplate()) == EVENT_TYPES
    assert own_types(notification_pb2.NotificationTemplate(types=["gate.*"])) == {"gate.approved", "gate.waiting"}
