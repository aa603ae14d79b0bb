"""The package's own templates, rendered by the real process for every type of event, in every language, whole and where little is known."""

from collections.abc import AsyncIterator, Sequence
from html.parser import HTMLParser

import pytest
import pytest_asyncio

from pymigrate.engine.adapters.rendering.process import TemplateProcess
from pymigrate.engine.application.default_texts import ROLES, SHORT_CHANNEL, default_template
from pymigrate.engine.application.event_types import EVENT_TYPES
from pymigrate.engine.application.notice_phrases import LANGUAGES
from pymigrate.engine.application.notice_samples import ACKNOWLEDGE_URL, RUN, sample_contexts
from pymigrate.engine.application.template_checks import rendered_samples, source_of, template_problems
from pymigrate.engine.ports.rendering import RenderedText, RenderRequest

pytestmark = pytest.mark.asyncio(loop_scope="module")
UNKNOWN_TYPE = "moon.waxed"
HOLES = ("{{", "{%", "}}", "%}", "None", "Undefined", "[]", "{}", "@")
SHORT_CHARACTERS_MAX = 600
VOID = frozenset({"br", "meta"})


class Tags(HTMLParser):
    """The tags that are open; `problems` are those that close another one than the last."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def process() -> AsyncIterator[TemplateProcess]:
    made = TemplateProcess()
    yield made
    await made.close()


async def _rendered(process: TemplateProcess, role: str, event_type: str, text: str = "en") -> Sequence[RenderedText]:
    own = default_template(role).texts[text]
    contexts = sample_contexts(event_type, own.locale)
    found = await process.render([RenderRequest(source_of(own), context) for context in contexts])
    assert [each.problem for each in found] == ["", ""]
    return found


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("role", ROLES)
async def test_every_type_is_told_to_every_role_without_a_hole(
    process: TemplateProcess, role: str, language: str
) -> None:
    for event_type in [*sorted(EVENT_TYPES), UNKNOWN_TYPE]:
        for text in (language, f"{language}-{SHORT_CHANNEL}"):
            for found in await _rendered(process, role, event_type, text):
                assert found.subject
                assert "\n" not in found.subject
                assert found.body.strip()
                told = f"{found.subject}\n{found.body}\n{found.html}"
                assert [hole for hole in HOLES if hole in told] == [], f"{event_type}: {told}"
                assert text != language or found.html
                if text != language:
                    assert len(found.body) <= SHORT_CHARACTERS_MAX
                    assert "\n" not in found.body.strip()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("role", ROLES)
async def test_what_is_opened_in_html_is_closed(process: TemplateProcess, role: str, language: str) -> None:
    for event_type in ("lane.failed", "kpi.crossed", "audit.approve"):
        for found in await _rendered(process, role, event_type, language):
            tags = Tags()
            tags.feed(found.html)
            assert (tags.problems, tags.open) == ([], [])


@pytest.mark.parametrize("role", ROLES)
async def test_the_checks_that_hold_everybodys_templates_hold_these(process: TemplateProcess, role: str) -> None:
    assert await template_problems(default_template(role), [], process) == []


async def test_an_executive_reads_of_the_business_and_an_engineer_of_the_lane(process: TemplateProcess) -> None:
    executive, _ = await _rendered(process, "executive", "lane.failed")
    engineer, _ = await _rendered(process, "engineer", "lane.failed")
    for jargon in ("SOURCE_UNAVAILABLE", "sales.orders.1", RUN, "pymigrate ", "lane", "db.example.com"):
        assert jargon.lower() not in executive.body.replace(ACKNOWLEDGE_URL, "").lower()
        assert jargon.lower() in engineer.body.lower()
    for business in ("EUR 9,000", "Grace Hopper", "Expected end", "What is asked of you"):
        assert business in executive.body
        assert business not in engineer.body


async def test_an_approver_reads_what_to_approve_and_how(process: TemplateProcess) -> None:
    full, sparse = await _rendered(process, "approver", "phase.verifying")
    assert full.subject.startswith("Approval needed: ")
    assert f"pymigrate approve {RUN} sales go-live" in full.body
    assert "Nothing waits for an approval now." in sparse.body


async def test_an_owner_reads_of_the_departments_downtime_and_its_cost(process: TemplateProcess) -> None:
    full, _ = await _rendered(process, "owner", "phase.failed")
    assert "Department: Sales (systems: crm)" in full.body
    assert "Your systems were out of service for 45 min of 2 h agreed." in full.body
    assert "That cost EUR 9,000 so far." in full.body


async def test_security_reads_who_did_what_to_what(process: TemplateProcess) -> None:
    full, _ = await _rendered(process, "security", "audit.delete")
    for told in ("Who: ada", "What: audit.delete", "To: environments/prod/departments/sales", "2026-03-02T07:30:00Z"):
        assert told in full.body


async def test_an_operator_reads_what_to_do_next(process: TemplateProcess) -> None:
    full, _ = await _rendered(process, "operator", "run.failed")
    assert f"Next: Mend what is said of it, then go on with `pymigrate retry {RUN}`" in full.body


async def test_several_events_are_listed_with_the_latest_first(process: TemplateProcess) -> None:
    full, _ = await _rendered(process, "operator", "phase.failed", "de")
    lines = [line for line in full.body.splitlines() if line.startswith("- Mo.")]
    assert [line.partition(" Uhr")[0] for line in lines] == ["- Mo., 2. März 2026, 08:30", "- Mo., 2. März 2026, 08:25"]
    assert "2 Ereignisse insgesamt:" in full.body
    assert "3 weitere waren gleich" in full.body


@pytest.mark.parametrize("role", ["executive", "owner"])
async def test_a_digest_for_the_business_lists_what_happened_in_its_words(process: TemplateProcess, role: str) -> None:
    full, sparse = await _rendered(process, role, "phase.published")
    assert [line for line in full.body.splitlines() if line.startswith("- Mon")] == [
        "- Mon 2 Mar 2026, 08:30 CET: Sales: its data is in the new system",
        "- Mon 2 Mar 2026, 08:25 CET: Sales: its data is in the new system",
    ]
    assert full.html.count("<li>Mon") == 2
    assert "- Mon" not in sparse.body


async def test_markup_in_a_name_stays_text(process: TemplateProcess) -> None:
    full, _ = sample_contexts("phase.failed")
    full["event"] = full["event"] | {"title": "<script>alert(1)</script>"}
    (found,) = await process.render([RenderRequest(source_of(default_template("operator").texts["en"]), full)])
    assert "<script>" not in found.html
    assert "&lt;script&gt;" in found.html


async def test_a_template_is_shown_by_a_made_up_event_of_a_type(process: TemplateProcess) -> None:
    shown = await rendered_samples(default_template("executive"), "run.succeeded", process)
    assert set(shown.texts) == {"en", "de", "en-apprise", "de-apprise"}
    assert shown.texts["de"].subject == "Warehouse 2026: Die Datenübernahme ist abgeschlossen (und 1 weitere)"
    assert list(shown.problems) == []
