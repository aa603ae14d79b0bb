"""Templates that would not render are refused with the path of what is wrong; the package's own are found by their names."""

import pytest

from pymigrate.engine.application.default_texts import ROLES, default_template
from pymigrate.engine.application.event_types import EVENT_TYPES
from pymigrate.engine.application.template_checks import (
    PROBLEMS_MAX,
    packaged_template,
    rendered_samples,
    template_problems,
)
from pymigrate.engine.domain.errors import NotFound, Problem
from pymigrate.engine.testing.rendering import PlainRenderer
from pymigrate.v1 import notification_pb2

BASE = "environments/prod/notificationTemplates"


def _template(**texts: notification_pb2.TemplateText) -> notification_pb2.NotificationTemplate:
    return notification_pb2.NotificationTemplate(name=f"{BASE}/own", texts=texts)


def _text(body: str, subject: str = "s", html: str = "") -> notification_pb2.TemplateText:
    return notification_pb2.TemplateText(subject=subject, body=body, html=html)


async def test_a_template_that_renders_has_no_problem() -> None:
    template = _template(mail=_text("{{ event.title }} for {{ recipient.name }}"))
    assert await template_problems(template, ["phase.*"], PlainRenderer()) == []


async def test_a_problem_names_text_part_line_and_type_once() -> None:
    template = _template(mail=_text("a\n{{ event.nothing }}"), chat=_text("a", subject="{{ nobody.name }}"))
    assert await template_problems(template, ["phase.failed", "phase.published"], PlainRenderer()) == [
        Problem("texts.chat.subject", "line 1: there is no `nobody.name` here (phase.failed)"),
        Problem("texts.mail.body", "line 2: there is no `event.nothing` here (phase.failed)"),
    ]


async def test_what_may_be_missing_is_found_before_it_is_missing() -> None:
    template = _template(mail=_text("{{ run.name }}"))
    assert await template_problems(template, ["run.failed"], PlainRenderer()) == [
        Problem("texts.mail.body", "line 1: there is no `run.name` here (run.failed, where little is known)")
    ]


async def test_only_the_types_that_it_is_for_are_tried() -> None:
    renderer = PlainRenderer()
    await template_problems(_template(mail=_text("b")), ["gate.*", "run.failed"], renderer)
    tried = {request.context["event"]["type"] for request in renderer.asked}
    assert tried == {"gate.approved", "gate.waiting", "run.failed"}


async def test_a_template_for_no_type_in_particular_is_tried_with_all() -> None:
    renderer = PlainRenderer()
    await template_problems(_template(mail=_text("b")), [], renderer)
    assert {request.context["event"]["type"] for request in renderer.asked} == EVENT_TYPES


async def test_problems_have_a_bound() -> None:
    texts = {f"t{at}": _text(f"{{{{ nothing.{'x' * (at + 1)} }}}}") for at in range(PROBLEMS_MAX + 5)}
    assert len(await template_problems(_template(**texts), ["run.failed"], PlainRenderer())) == PROBLEMS_MAX


async def test_a_template_is_shown_with_what_of_it_fails() -> None:
    template = _template(good=_text("{{ event.type }}", html="<p></p>"), bad=_text("{{ run.name }}"))
    shown = await rendered_samples(template, "run.failed", PlainRenderer())
    assert shown.texts["good"] == notification_pb2.TemplateText(subject="s", body="run.failed", html="<p></p>")
    assert shown.texts["bad"].body.startswith("environments/prod/plans/")
    assert list(shown.problems) == [
        "texts.bad.body: line 1: there is no `run.name` here (run.failed, where little is known)"
    ]


@pytest.mark.parametrize("role", ROLES)
def test_the_packages_own_templates_have_names(role: str) -> None:
    assert packaged_template(f"{BASE}/default-{role}") == default_template(role)


def test_a_name_of_somebodys_template_is_none_of_the_packages() -> None:
    assert packaged_template(f"{BASE}/operator") is None


def test_a_role_without_a_template_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(NotFound, match="did you mean `operator`"):
        packaged_template(f"{BASE}/default-operater")
