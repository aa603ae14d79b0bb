"""The trail in pieces: whole, in order, each seal behind what it is over, and gone on with wherever it broke off."""

import json
from collections import Counter
from typing import Any

import pytest

from pymigrate.engine.application.audit.exporting import PIECE_BYTES_MAX, AuditExport, Bounds
from pymigrate.engine.application.audit.seal_messages import head_of, seal_of
from pymigrate.engine.application.audit.trail_lines import read_line
from pymigrate.engine.domain.audit_chain import Head
from pymigrate.engine.domain.errors import EngineUnavailable, InvalidDefinition
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.v1 import audit_pb2
from tests.unit.application.audit.trails import Trail

Request = audit_pb2.ExportAuditRequest
CLOUD_EVENTS = audit_pb2.AUDIT_FORMAT_CLOUD_EVENTS


def export(trail: Trail, bounds: Bounds | None = None) -> AuditExport:
    return AuditExport(trail, ManualClock(), trail.public_key, "here", bounds)  # type: ignore[arg-type]  # of the store it gives what is asked for


async def pieces(
    trail: Trail, request: Request | None = None, bounds: Bounds | None = None
) -> list[audit_pb2.ExportAuditResponse]:
    return [piece async for piece in export(trail, bounds).export(request or Request())]


def lines(found: list[audit_pb2.ExportAuditResponse]) -> list[tuple[str, Any]]:
    return [read_line(line) for piece in found for line in piece.lines.splitlines()]


def without_positions(found: list[audit_pb2.ExportAuditResponse]) -> list[tuple[str, Any]]:
    return [(kind, content) for kind, content in lines(found) if kind != "position"]


@pytest.fixture
def trail() -> Trail:
    """Three chains, sealed twice, with something behind that is not sealed."""
    trail = Trail()
    trail.fill(3)
    trail.add(
        "run.started",
        "environments/prod/plans/p/runs/r",
        "environments/prod/plans/p/runs/r",
        run="environments/prod/plans/p/runs/r",
    )
    trail.seal()
    trail.fill(2, chain="w2", subject="environments/test/plans/p")
    trail.seal()
    trail.add()
    return trail


async def test_the_first_line_says_what_it_is_and_brings_the_key(trail: Trail) -> None:
    kind, header = lines(await pieces(trail))[0]
    assert kind == "header"
    assert (header["format"], header["formatVersion"], header["instance"]) == ("pymigrate-audit-trail", 1, "here")
    assert header["publicKey"] == trail.public_key


async def test_every_event_comes_in_order_and_each_seal_behind_what_it_is_over(trail: Trail) -> None:
    told = lines(await pieces(trail))
    assert [kind for kind, _ in told] == [
        *("header", "event", "event", "event", "event", "heads", "seal", "event", "event", "heads", "seal"),
        *("event", "position"),
    ]
    assert [content["sequence"] for kind, content in told if kind == "event"] == list(range(1, 8))
    first, second = (content for kind, content in told if kind == "heads")
    assert [head_of(each).chain for each in first["heads"]] == ["environments/prod/plans/p/runs/r", "w1"]
    assert [head_of(each) for each in second["heads"]] == trail.seals[1][1]
    sealed = [seal_of(content) for kind, content in told if kind == "seal"]
    assert [seal.signature for seal in sealed] == [seal.signature for seal, _ in trail.seals]


async def test_the_last_line_says_that_it_is_the_end_and_how_much_there_was(trail: Trail) -> None:
    found = await pieces(trail)
    kind, position = lines(found)[-1]
    assert (kind, position["isEnd"], position["eventCount"], position["sealCount"]) == ("position", True, 7, 2)
    assert position["resumeToken"] == found[-1].resume_token


async def test_what_retention_left_of_each_chain_comes_first(trail: Trail) -> None:
    trail.bases = [Head("w2", 7, b"h" * 32, is_base=True), Head("", 12, b"u" * 32, is_base=True)]
    told = lines(await pieces(trail))
    assert [kind for kind, _ in told[:4]] == ["header", "base", "base", "event"]
    assert [head_of(content) for kind, content in told if kind == "base"] == sorted(
        trail.bases, key=lambda head: head.chain
    )


async def test_an_empty_trail_is_an_export_too() -> None:
    assert [kind for kind, _ in lines(await pieces(Trail()))] == ["header", "position"]


async def test_no_piece_is_larger_than_agreed_and_every_line_is_whole(trail: Trail) -> None:
    trail.fill(2_000, detail="x" * 500)
    found = await pieces(trail)
    assert len(found) > 4
    assert all(len(piece.lines) <= PIECE_BYTES_MAX and piece.lines.endswith(b"\n") for piece in found)
    assert Counter(kind for kind, _ in lines(found))["event"] == 2_007


async def test_a_line_that_is_longer_is_a_piece_of_its_own(trail: Trail) -> None:
    trail.add(detail="x" * 2 * PIECE_BYTES_MAX)
    trail.add()
    large = [piece for piece in await pieces(trail) if len(piece.lines) > PIECE_BYTES_MAX]
    assert [[kind for kind, _ in lines([piece])] for piece in large] == [["event", "position"]]


@pytest.mark.parametrize("form", [audit_pb2.AUDIT_FORMAT_JSON_LINES, CLOUD_EVENTS])
async def test_an_export_that_breaks_off_anywhere_goes_on_without_a_line_too_few_or_too_many(
    trail: Trail, form: Any
) -> None:
    bounds = Bounds(piece_bytes_max=1, entries_page=2, heads_per_line_max=1)  # a line each
    trail.bases = [Head("w2", 7, b"h" * 32, is_base=True), Head("", 12, b"u" * 32, is_base=True)]
    trail.seal()
    whole = await pieces(trail, Request(format=form), bounds)
    assert len(whole) > 15
    for at in range(1, len(whole)):
        rest = await pieces(trail, Request(format=form, resume_token=whole[at - 1].resume_token), bounds)
        assert without_positions([*whole[:at], *rest]) == without_positions(whole)
        assert lines(rest)[-1] == lines(whole)[-1]


async def test_an_export_that_is_done_goes_on_with_what_came_since(trail: Trail) -> None:
    first = await pieces(trail)
    assert [kind for kind, _ in lines(await pieces(trail, Request(resume_token=first[-1].resume_token)))] == [
        "position"
    ]
    trail.fill(2)
    trail.seal()
    more = await pieces(trail, Request(resume_token=first[-1].resume_token))
    assert [kind for kind, _ in lines(more)] == ["event", "event", "heads", "seal", "position"]
    assert lines(more)[-1][1]["eventCount"] == 9


async def test_an_export_ends_where_the_trail_ended_when_it_began(trail: Trail) -> None:
    trail.before_read = lambda number: trail.fill(5) if number > 1 else None
    assert lines(await pieces(trail, bounds=Bounds(entries_page=2)))[-1][1]["eventCount"] == 7


async def test_a_page_is_read_at_a_time_and_nothing_more_when_nobody_asks(trail: Trail) -> None:
    trail.fill(100)
    stream = export(trail, Bounds(piece_bytes_max=1, entries_page=5)).export(Request())
    for _ in range(3):
        await anext(stream)
    before = trail.reads
    await stream.aclose()
    assert (trail.reads, before <= 4) == (before, True)


async def test_seals_are_looked_for_once_a_page_and_not_at_every_event(trail: Trail) -> None:
    trail.fill(2_000)
    await pieces(trail)
    assert trail.seal_lists <= 5


async def test_more_seals_than_are_read_at_once_are_told_in_order(trail: Trail) -> None:
    for _ in range(250):
        trail.add()
        trail.seal()
    told = lines(await pieces(trail))
    assert [content["number"] for kind, content in told if kind == "seal"] == list(range(1, 253))


async def test_a_part_has_its_events_alone(trail: Trail) -> None:
    found = lines(await pieces(trail, Request(environment="environments/prod")))
    assert [content["sequence"] for kind, content in found if kind == "event"] == [1, 2, 3, 4, 7]
    assert {kind for kind, _ in found} == {"header", "event", "position"}
    assert found[0][1]["environment"] == "environments/prod"
    between = Request()
    between.start_time.FromDatetime(trail.entries[1].time)
    between.end_time.FromDatetime(trail.entries[3].time)
    found = lines(await pieces(trail, between))
    assert [content["sequence"] for kind, content in found if kind == "event"] == [2, 3]


async def test_pages_of_which_nothing_is_a_part_are_passed_over(trail: Trail) -> None:
    trail.fill(7, subject="environments/test")
    trail.add()
    trail.fill(3, subject="environments/test")
    found = await pieces(trail, Request(environment="environments/prod"), Bounds(entries_page=2))
    assert [content["sequence"] for kind, content in lines(found) if kind == "event"] == [1, 2, 3, 4, 7, 15]
    again = await pieces(trail, Request(environment="environments/prod", resume_token=found[-1].resume_token))
    assert [kind for kind, _ in lines(again)] == ["position"]


async def test_an_environment_has_nothing_of_one_whose_name_goes_on(trail: Trail) -> None:
    trail.add(subject="environments/production")
    found = lines(await pieces(trail, Request(environment="environments/prod")))
    assert 8 not in [content["sequence"] for kind, content in found if kind == "event"]


async def test_as_cloud_events_each_line_is_one_with_the_id_that_receivers_know(trail: Trail) -> None:
    found = await pieces(trail, Request(format=CLOUD_EVENTS))
    events = [json.loads(line) for piece in found for line in piece.lines.splitlines()]
    assert all(
        each["specversion"] == "1.0" and each["source"] == "/here/audit" and each["id"] and each["type"]
        for each in events
    )
    assert len({each["id"] for each in events}) == len(events)
    by_type = [each["type"] for each in events]
    assert by_type[:6] == [
        "io.pymigrate.trail.header",
        *["io.pymigrate.audit.create"] * 3,
        "io.pymigrate.run.started",
        "io.pymigrate.trail.heads",
    ]
    assert [read_line(json.dumps(each).encode()) for each in events] == lines(found)
    plain = lines(await pieces(trail))
    assert lines(found)[1:-1] == plain[1:-1]


@pytest.mark.parametrize("token", ["x", "e30=", "bnVsbA==", "W10=", "A" * 5_000, "eyJhIjoxfQ=="])
async def test_a_token_that_no_export_gave_is_refused(trail: Trail, token: str) -> None:
    with pytest.raises(InvalidDefinition, match="not a token that ExportAudit gave out"):
        await pieces(trail, Request(resume_token=token))


async def test_a_token_of_another_part_or_format_is_refused(trail: Trail) -> None:
    token = (await pieces(trail))[-1].resume_token
    for other in (Request(format=CLOUD_EVENTS), Request(environment="environments/prod")):
        other.resume_token = token
        with pytest.raises(InvalidDefinition, match="in another format or of another part"):
            await pieces(trail, other)
    assert await pieces(trail, Request(format=audit_pb2.AUDIT_FORMAT_JSON_LINES, resume_token=token))


@pytest.mark.parametrize(
    ("request_", "field"),
    [(Request(environment="prod"), "environment"), (Request(format=9), "format")],  # type: ignore[arg-type]  # no format
)
async def test_a_part_that_is_none_is_refused(trail: Trail, request_: Request, field: str) -> None:
    with pytest.raises(InvalidDefinition, match=field):
        await pieces(trail, request_)


async def test_a_store_that_is_away_ends_the_export(trail: Trail) -> None:
    def away(number: int) -> None:
        if number == 2:
            raise EngineUnavailable("the store is closed")

    trail.before_read = away
    with pytest.raises(EngineUnavailable):
        await pieces(trail)
