"""Templates in commits: rendered before anything of a commit is applied, and not where nothing is to be rendered."""

from pymigrate.engine.application.gitops.staged_templates import TemplateRendering
from pymigrate.engine.testing.rendering import PlainRenderer
from tests.unit.application.gitops.sourced import NAME, Sourced, applied, department

TEMPLATE = """\
apiVersion: pymigrate.io/v1alpha1
kind: NotificationTemplate
metadata: {name: short}
spec: {types: [run.failed], texts: {x: {subject: s, body: "{{ event.type }}"}}}
"""
WRONG = TEMPLATE.replace("event.type", "event.colour")


async def rendered() -> tuple[Sourced, PlainRenderer]:
    """A source with an environment and a department, whose templates are rendered before they are kept."""
    scene, renderer = await applied(), PlainRenderer()
    scene.passes.render_by(TemplateRendering(scene.store, renderer))
    return scene, renderer


async def test_a_commit_with_a_template_that_renders_is_applied() -> None:
    scene, renderer = await rendered()
    scene.push({"t.yaml": TEMPLATE})
    assert (await scene.passed()).result == "applied"
    assert renderer.asked
    assert "notificationTemplates/short" in await scene.names()


async def test_a_commit_with_a_template_that_does_not_render_is_refused_at_its_place() -> None:
    scene, _ = await rendered()
    scene.push({"t.yaml": WRONG, "b.yaml": department("hr")})
    assert (await scene.passed()).result == "refused"
    (problem,) = (await scene.status()).problems
    assert (problem.file, problem.line, problem.path) == ("t.yaml", 4, "spec.texts.x.body")
    assert "departments/hr" not in await scene.names()
    (told,) = (await scene.passes.check(NAME)).problems
    assert told.path == "spec.texts.x.body"


async def test_a_template_that_is_there_already_is_not_rendered_again() -> None:
    scene, renderer = await rendered()
    scene.push({"t.yaml": TEMPLATE})
    await scene.passed()
    asked = len(renderer.asked)
    scene.push({"b.yaml": department("hr")})
    assert (await scene.passed()).result == "applied"
    assert len(renderer.asked) == asked
