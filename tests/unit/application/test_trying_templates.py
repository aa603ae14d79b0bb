"""A template tried: given, stored or the package's own, for a made-up event, with nothing stored."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.application.notification_kinds import NOTIFICATION_TEMPLATES
from pymigrate.engine.application.trying_templates import TryingTemplates
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.rendering import PlainRenderer
from pymigrate.v1 import environment_pb2, notification_pb2
from tests.unit.application import noticed
from tests.unit.application.engines import ENVIRONMENT, ME, Engine


@pytest.fixture
async def trying(engine: Engine) -> TryingTemplates:
    await noticed.declare_notices(engine)
    return TryingTemplates(engine.store, engine.catalog, PlainRenderer())


def asked(type_: str = "phase.failed", **template: Any) -> notification_pb2.RenderNotificationTemplateRequest:
    return notification_pb2.RenderNotificationTemplateRequest(
        parent=ENVIRONMENT, type=type_, template=notification_pb2.NotificationTemplate(**template)
    )


def text(subject: str, body: str = "told") -> dict[str, notification_pb2.TemplateText]:
    return {"en": notification_pb2.TemplateText(subject=subject, body=body)}


async def test_a_given_template_is_rendered_for_the_type(trying: TryingTemplates) -> None:
    answer = await trying.render(asked(texts=text("It is {{ event.type }}")))
    assert answer.texts["en"].subject == "It is phase.failed"
    assert not answer.problems


async def test_a_stored_template_is_found_by_its_name(trying: TryingTemplates) -> None:
    answer = await trying.render(asked(name=f"{ENVIRONMENT}/notificationTemplates/short"))
    assert answer.texts["en"].subject == "phase.failed"


async def test_a_template_is_rendered_with_the_values_of_its_environments_parameters(
    engine: Engine, trying: TryingTemplates
) -> None:
    team = environment_pb2.Parameter(default_value="the night shift")
    own = environment_pb2.Environment(name=ENVIRONMENT, parameters={"team": team})
    stored = notification_pb2.NotificationTemplate(texts=text("${team}, $${team}: {{ event.type }}"))

    def work(unit: Unit) -> None:
        engine.catalog.update(unit, ENVIRONMENTS, own, FieldMask(), ME)
        engine.catalog.create(unit, NOTIFICATION_TEMPLATES, ENVIRONMENT, "team", stored, ME)

    await engine.store.transact(work)
    for each in (asked(name=f"{ENVIRONMENT}/notificationTemplates/team"), asked(texts=stored.texts)):
        assert (await trying.render(each)).texts["en"].subject == "the night shift, ${team}: phase.failed"


async def test_what_can_not_be_rendered_is_told_as_sentences(trying: TryingTemplates) -> None:
    answer = await trying.render(asked(texts=text("s", "{{ event.colour }}")))
    assert any("texts.en.body: line 1" in problem for problem in answer.problems)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (asked("phase.faild", texts=text("s")), "type"),
        (asked("phase.*", texts=text("s")), "type"),
        (asked("", texts=text("s")), "type"),
        (asked(), "template"),
        (asked(texts=text("a\nb")), "template.texts.en.subject"),
    ],
)
async def test_what_can_not_be_tried_is_told_at_its_field(trying: TryingTemplates, request_: Any, field: str) -> None:
    with pytest.raises(InvalidDefinition) as error:
        await trying.render(request_)
    assert [problem.field for problem in error.value.problems] == [field]


async def test_a_template_that_is_not_there_is_told_with_the_nearest(trying: TryingTemplates) -> None:
    with pytest.raises(NotFound, match="did you mean `short`"):
        await trying.render(asked(name=f"{ENVIRONMENT}/notificationTemplates/shrt"))
    with pytest.raises(NotFound, match="default-executiv"):
        await trying.render(asked(name=f"{ENVIRONMENT}/notificationTemplates/default-executiv"))
