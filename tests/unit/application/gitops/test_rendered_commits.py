"""Templates in commits: rendered before anything of a commit is applied, and not where nothing is to be rendered."""

from collections.abc import Sequence

from pymigrate.engine.application.gitops.staged_templates import TemplateRendering
from pymigrate.engine.ports.rendering import RenderedText, RenderRequest
from pymigrate.engine.testing.rendering import PlainRenderer
from tests.unit.application.gitops.sourced import NAME, Sourced, applied, department

TEMPLATE = """\
apiVersion: pymigrate.io/v1alpha1
kind: NotificationTemplate
metadata: {name: short}
spec: {types: [run.failed], texts: {x: {subject: s, body: "{{ event.type }}"}}}
"""
RULE = """\
apiVersion: pymigrate.io/v1alpha1
kind: AlertRule
metadata: {name: failed}
spec: {match: {types: [run.failed]}, recipients: {roles: [engineer]}, template: short}
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


class RefusingRenderer(PlainRenderer):
    """Finds something wrong with every text."""

    async def render(self, requests: Sequence[RenderRequest]) -> Sequence[RenderedText]:
        """The same problem for each."""
        return [RenderedText(problem="body: line 1: no") for _ in requests]


async def test_a_rule_is_told_where_no_file_declares_the_template_that_it_tells_by() -> None:
    scene = await applied()
    scene.push({"t.yaml": TEMPLATE})
    await scene.passed()
    scene.passes.render_by(TemplateRendering(scene.store, RefusingRenderer()))
    scene.push({"t.yaml": None, "r.yaml": RULE})
    assert (await scene.passed()).result == "refused"
    (problem,) = (await scene.status()).problems
    assert (problem.file, problem.line, problem.path) == ("r.yaml", 4, "spec.template")
    assert "`short` can't tell what the rule matches: texts.x" in problem.description
