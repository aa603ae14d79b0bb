"""What every renderer keeps to, whatever it renders with."""

from collections.abc import AsyncIterator

import pytest

from pymigrate.engine.adapters.rendering.process import TemplateProcess
from pymigrate.engine.ports.rendering import Renderer, RenderRequest, TemplateSource
from pymigrate.engine.testing.rendering import PlainRenderer

GREETING = TemplateSource("For {{ recipient.name }}", "What: {{ event.type }}\n", "<p>{{ event.type }}</p>")
CONTEXT = {"recipient": {"name": "Ada"}, "event": {"type": "run.failed"}}


@pytest.fixture(params=[PlainRenderer, TemplateProcess])
async def renderer(request: pytest.FixtureRequest) -> AsyncIterator[Renderer]:
    made: Renderer = request.param()
    yield made
    await made.close()


async def test_values_stand_where_a_text_names_them(renderer: Renderer) -> None:
    (found,) = await renderer.render([RenderRequest(GREETING, CONTEXT)])
    assert (found.subject, found.body.rstrip(), found.html) == (
        "For Ada",
        "What: run.failed",
        "<p>run.failed</p>",
    )
    assert not found.problem


async def test_a_text_without_html_has_none(renderer: Renderer) -> None:
    (found,) = await renderer.render([RenderRequest(TemplateSource("s", "b"), {})])
    assert (found.subject, found.body, found.html, found.problem) == ("s", "b", "", "")


async def test_what_is_not_there_is_told_with_its_part_and_line(renderer: Renderer) -> None:
    (found,) = await renderer.render([RenderRequest(TemplateSource("s", "one\n{{ event.nothing }}"), CONTEXT)])
    assert found.problem.startswith("body: line 2: ")
    assert "nothing" in found.problem


async def test_one_that_fails_leaves_the_others_alone_and_in_order(renderer: Renderer) -> None:
    requests = [
        RenderRequest(TemplateSource(f"{place} {{{{ {path} }}}}", "b"), CONTEXT)
        for place, path in enumerate(["event.type", "event.gone", "recipient.name"])
    ]
    found = await renderer.render(requests)
    assert [(text.subject, bool(text.problem)) for text in found] == [
        ("0 run.failed", False),
        ("", True),
        ("2 Ada", False),
    ]


async def test_a_line_break_in_a_value_breaks_no_subject(renderer: Renderer) -> None:
    values = {"recipient": {"name": "Ada\r\nBcc: everybody@example.com"}, "event": {"type": "x"}}
    (found,) = await renderer.render([RenderRequest(GREETING, values)])
    assert found.subject == "For Ada Bcc: everybody@example.com"


async def test_nothing_asked_is_nothing_told(renderer: Renderer) -> None:
    assert list(await renderer.render([])) == []


async def test_it_may_be_closed_twice_and_what_it_gave_stays(renderer: Renderer) -> None:
    (found,) = await renderer.render([RenderRequest(GREETING, CONTEXT)])
    for _ in range(2):
        await renderer.close()
        assert found.subject == "For Ada"
