"""HTTP APIs as sources: pages of every kind, what goes wrong on the way, and what is refused."""

import gzip
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.engine.adapters.connectors.http_api import HttpApiConnector
from pymigrate.engine.adapters.connectors.http_client import HttpClient
from pymigrate.engine.adapters.connectors.http_pace import RequestPace
from pymigrate.engine.adapters.connectors.http_paging import found_at
from pymigrate.engine.adapters.connectors.http_source import HttpSource
from pymigrate.engine.domain.errors import (
    DataRefused,
    FailedPrecondition,
    InvalidDefinition,
    PyMigrateError,
    SourceChanged,
    SourceMissing,
    SystemUnavailable,
)
from pymigrate.engine.domain.types import parse_type
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.file_formats import JsonLinesFormat
from pymigrate.engine.ports.http_format import (
    CursorPaging,
    HttpJsonFormat,
    LinkHeaderPaging,
    OffsetPaging,
    PageNumberPaging,
    Paging,
)
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.ports.source import Source
from pymigrate.engine.testing.clock import START, HastyClock
from pymigrate.provider.sdk import certificates
from tests.apis import ApiServer, Asked, Reply, json_reply, serving

Answer = Callable[[Asked], Reply]
Opener = Callable[..., Source]
ROWS = [{"id": number, "name": f"name {number}"} for number in range(1, 24)]
COLUMNS = {"id": "int64", "name": "string"}
PAGE = 5


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
def source(api: ApiServer, clock: HastyClock) -> Iterator[Opener]:
    """Opens the API as a source, with further options of its system."""
    connector = HttpApiConnector(clock)
    with ExitStack() as stack:

        def open_source(secrets: dict[str, Secret] | None = None, **options: str) -> Source:
            system = SystemSpec("http", "crm", {"base_url": api.url, **options}, secrets=secrets or {})
            return stack.enter_context(closing(connector.open_source(system)))

        yield open_source


def relation(
    paging: Paging | None = None, records: str = "items", columns: dict[str, str] | None = None, **form: object
) -> SourceRelation:
    types = {name: parse_type(text) for name, text in (COLUMNS if columns is None else columns).items()}
    found = HttpJsonFormat(records, paging=paging, **form)  # type: ignore[arg-type]  # the fields of HttpJsonFormat
    return SourceRelation("people", found, types, chunk_bytes=1)


def rows_of(source: Source, relation: SourceRelation, after: str | None = None) -> list[dict[str, object]]:
    columns = source.describe(relation).columns
    return [
        row
        for chunk in source.chunks(relation, columns, after)  # type: ignore[arg-type]  # a Position
        for batch in chunk.batches
        for row in batch.to_pylist()
    ]


def page_of(rows: Sequence[object], first: int) -> list[object]:
    return list(rows[first : first + PAGE])


def by_number(asked: Asked) -> Reply:
    return json_reply({"items": page_of(ROWS, (int(asked.query["page"]) - 1) * PAGE)})


def by_offset(asked: Asked) -> Reply:
    first, limit = int(asked.query["skip"]), int(asked.query["take"])
    return json_reply({"items": ROWS[first : first + limit]})


def by_cursor(asked: Asked) -> Reply:
    first = int(asked.query.get("after", "0"))
    following = first + PAGE if first + PAGE < len(ROWS) else None
    return json_reply({"items": page_of(ROWS, first), "meta": {"next": following}})


def by_address(asked: Asked) -> Reply:
    first = int(asked.query.get("from", "0"))
    following = f"/people?from={first + PAGE}" if first + PAGE < len(ROWS) else ""
    return json_reply({"items": page_of(ROWS, first), "meta": {"next": following}})


def by_link(asked: Asked) -> Reply:
    first = int(asked.query.get("from", "0"))
    links = ['<people?from=0>; rel="first"']
    if first + PAGE < len(ROWS):
        links.append(f'<people?from={first + PAGE}>; rel="next"; title="more, please"')
    return json_reply({"items": page_of(ROWS, first)}, Link=", ".join(links))


def everything(_: Asked) -> Reply:
    return json_reply({"items": ROWS})


PAGINGS: dict[str, tuple[Paging | None, Answer]] = {
    "none": (None, everything),
    "page_number": (PageNumberPaging(), by_number),
    "offset": (OffsetPaging("skip", "take", PAGE), by_offset),
    "cursor": (CursorPaging("meta.next", "after"), by_cursor),
    "address": (CursorPaging("/meta/next"), by_address),
    "link_header": (LinkHeaderPaging(), by_link),
}


@pytest.mark.parametrize("kind", PAGINGS)
class TestPaging:
    """Every kind of paging."""

    def test_every_record_of_every_page_arrives_once(self, api: ApiServer, source: Opener, kind: str) -> None:
        paging, api.answer = PAGINGS[kind]
        assert rows_of(source(), relation(paging)) == ROWS

    def test_reading_goes_on_after_any_page(self, api: ApiServer, source: Opener, kind: str) -> None:
        paging, api.answer = PAGINGS[kind]
        opened, asked = source(), relation(paging)
        done = 0
        for chunk in opened.chunks(asked, opened.describe(asked).columns, None):
            done += chunk.rows
            assert rows_of(source(), asked, chunk.end) == ROWS[done:]
        assert done == len(ROWS)

    def test_no_record_at_all_is_no_error(self, api: ApiServer, source: Opener, kind: str) -> None:
        api.answer = lambda _: json_reply({"items": [], "meta": {}})
        opened = source()
        assert rows_of(opened, relation(PAGINGS[kind][0])) == []
        assert opened.describe(relation(PAGINGS[kind][0])).rows == 0


class TestPages:
    """What pages may and may not do."""

    def test_the_first_page_has_the_number_that_is_declared_and_the_size_is_asked_for(
        self, api: ApiServer, source: Opener
    ) -> None:
        api.answer = lambda asked: json_reply({"items": page_of(ROWS, int(asked.query["p"]) * PAGE)})
        paging = PageNumberPaging("p", "per_page", PAGE, first_page=0)
        assert rows_of(source(), relation(paging, parameters={"state": "a b&c"})) == ROWS
        assert api.asked[-1].query == {"p": "5", "per_page": "5", "state": "a b&c"}
        assert api.asked[-1].path == "/people"

    def test_an_api_that_answers_404_after_its_short_last_page_is_at_its_end(
        self, api: ApiServer, source: Opener
    ) -> None:
        api.answer = lambda asked: by_number(asked) if int(asked.query["page"]) <= 5 else Reply(status=404)
        assert rows_of(source(), relation(PageNumberPaging())) == ROWS

    def test_a_page_that_is_gone_after_a_full_one_is_an_error(self, api: ApiServer, source: Opener) -> None:
        api.answer = lambda asked: by_number(asked) if int(asked.query["page"]) <= 2 else Reply(status=404)
        with pytest.raises(SourceMissing, match="page=3 answered 404"):
            rows_of(source(), relation(PageNumberPaging()))

    def test_a_page_that_shrinks_while_others_follow_is_refused(self, api: ApiServer, source: Opener) -> None:
        sizes = {1: 5, 2: 4, 3: 5}
        api.answer = lambda asked: json_reply(
            {"items": ROWS[: sizes[int(asked.query["page"])]], "p": asked.query["page"]}
        )
        with pytest.raises(SourceChanged, match="page=3: it has 5 records after a page that had fewer") as refused:
            rows_of(source(), relation(PageNumberPaging()))
        assert refused.value.field == "source.relation"

    def test_a_cursor_that_leads_back_is_found_out(self, api: ApiServer, source: Opener) -> None:
        following = {"": "a", "a": "b", "b": "c", "c": "d", "d": "b"}
        api.answer = lambda asked: json_reply({"items": ROWS[:2], "next": following[asked.query.get("after", "")]})
        with pytest.raises(DataRefused, match="pages go round in a circle"):
            rows_of(source(), relation(CursorPaging("next", "after")))
        assert len(api.asked) < 20

    def test_a_cursor_that_stands_still_is_found_out_after_a_restart_too(self, api: ApiServer, source: Opener) -> None:
        api.answer = lambda _: json_reply({"items": ROWS[:2], "next": 7})
        opened, asked = source(), relation(CursorPaging("next", "after"))
        first = next(iter(opened.chunks(asked, opened.describe(asked).columns, None)))
        with pytest.raises(DataRefused, match="pages go round"):
            rows_of(source(), asked, first.end)

    def test_an_api_that_does_not_heed_the_page_is_found_out(self, api: ApiServer, source: Opener) -> None:
        api.answer = everything
        with pytest.raises(DataRefused, match="does not heed the paging's parameter"):
            rows_of(source(), relation(PageNumberPaging()))

    def test_what_stands_in_the_cursors_place_must_be_one(self, api: ApiServer, source: Opener) -> None:
        api.answer = lambda _: json_reply({"items": ROWS[:2], "next": {"at": 1}})
        with pytest.raises(DataRefused, match="at `next` is no cursor"):
            rows_of(source(), relation(CursorPaging("next", "after")))

    @pytest.mark.parametrize(
        "link",
        [
            "https://elsewhere.example/people",
            "http://127.0.0.1:1/people",
            "//169.254.169.254/x",
            "http://u:p@127.0.0.1",
        ],
    )
    @pytest.mark.parametrize("paging", [LinkHeaderPaging(), CursorPaging("next")])
    def test_no_link_leads_to_another_origin(self, api: ApiServer, source: Opener, link: str, paging: Paging) -> None:
        api.answer = lambda _: json_reply({"items": ROWS[:2], "next": link}, Link=f"<{link}>; rel=next")
        with pytest.raises(DataRefused, match=f"only {api.url} is ever asked"):
            rows_of(source(), relation(paging))
        assert len(api.asked) == 1

    def test_a_total_that_does_not_come_is_told(self, api: ApiServer, source: Opener) -> None:
        def answer(total: int) -> Answer:
            return lambda asked: Reply(json.dumps(json.loads(by_number(asked).body) | {"total": total}).encode())

        asked = relation(PageNumberPaging(), total="total")
        api.answer = answer(23)
        assert rows_of(source(), asked) == ROWS
        assert source().describe(asked).rows == 23
        assert api.asked[-2].query == {"page": "5"}  # no request for a page that can't be
        api.answer = answer(24)
        with pytest.raises(SourceChanged, match="ended after 23 records, and there are 24"):
            rows_of(source(), asked)
        api.answer = answer(22)
        with pytest.raises(DataRefused, match="23 records were read, and there are 22"):
            rows_of(source(), asked)
        api.answer = lambda asked: answer(23 + int(asked.query["page"]))(asked)
        with pytest.raises(SourceChanged, match="there are 25 records, and a page before said 24"):
            rows_of(source(), asked)
        with pytest.raises(DataRefused, match="at `items` is no number") as refused:
            rows_of(source(), relation(PageNumberPaging(), total="items"))
        assert refused.value.field == "source.http_json.total"


class TestPatience:
    """Rates, retries and giving up; the clock is the test's."""

    def test_requests_keep_their_rate_over_all_sources_of_a_connection(
        self, api: ApiServer, source: Opener, clock: HastyClock
    ) -> None:
        api.answer = everything
        for _ in range(3):
            source(requests_per_second_max="4").describe(relation())
        assert clock.waits == [0.25, 0.25]

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
    def test_what_passes_is_asked_again_with_growing_pauses(
        self, api: ApiServer, source: Opener, clock: HastyClock, status: int
    ) -> None:
        api.replies(*[Reply(status=status)] * 3, json_reply({"items": ROWS}))
        assert source().describe(relation()).rows == len(ROWS)
        assert len(clock.waits) == 3
        for wait, most in zip(clock.waits, (0.5, 1, 2), strict=True):
            assert most / 2 <= wait <= most

    def test_retry_after_is_kept_in_seconds_and_as_a_date(
        self, api: ApiServer, source: Opener, clock: HastyClock
    ) -> None:
        at = format_datetime(START + timedelta(seconds=60), usegmt=True)
        headers = [{"Retry-After": "20"}, {"Retry-After": at}, {"Retry-After": "soon"}]
        api.replies(*[Reply(status=503, headers=some) for some in headers], json_reply({"items": ROWS}))
        source().describe(relation())
        assert clock.waits[:2] == [20.0, 40.0]
        assert 1 <= clock.waits[2] <= 2

    def test_who_asks_for_long_patience_stalls_the_lane_instead(
        self, api: ApiServer, source: Opener, clock: HastyClock
    ) -> None:
        api.replies(Reply(status=429, headers={"Retry-After": "3600"}))
        with pytest.raises(SystemUnavailable, match="answered 429") as refused:
            source().describe(relation())
        assert refused.value.retry_after_seconds == 3600
        assert clock.waits == []

    def test_a_connection_that_breaks_is_opened_again(self, api: ApiServer, source: Opener) -> None:
        whole = json_reply({"items": ROWS})
        api.replies(Reply(is_dropped=True), Reply(whole.body, cut=10), whole)
        assert source().describe(relation()).rows == len(ROWS)
        assert len(api.asked) == 3

    def test_an_api_that_stays_away_is_unavailable_after_as_many_tries_as_are_declared(
        self, api: ApiServer, source: Opener
    ) -> None:
        api.replies(Reply(b"maintenance  until\nnoon", 503))
        with pytest.raises(SystemUnavailable, match="answered 503: maintenance until noon") as refused:
            source(retries_max="2").describe(relation())
        assert refused.value.field == "source.connection"
        assert len(api.asked) == 3
        api.close()
        with pytest.raises(SystemUnavailable, match="did not answer: ConnectError"):
            source(retries_max="0").describe(relation())


class TestRefusals:
    """Answers that are not what was declared; none is tried again."""

    @pytest.mark.parametrize(
        ("reply", "kind", "says", "field"),
        [
            (Reply(status=401), FailedPrecondition, "answered 401: without a word: look at the headers", "source.connection"),
            (Reply(status=400, body=b"no"), FailedPrecondition, "answered 400: no", "source.relation"),
            (Reply(status=302, headers={"Location": "/other"}), FailedPrecondition, "redirects to /other", "source.relation"),
            (Reply(b"<html>Sorry", media_type="text/html; charset=utf-8"), DataRefused, "text/html, not JSON: `<html>Sorry`", ""),
            (Reply(b'{"items": ['), DataRefused, "is no JSON: Expecting value", ""),
            (Reply(b'{"items": [{"id": NaN}]}'), DataRefused, "NaN is no JSON", ""),
            (Reply(b'{"items": 1, "items": 2}'), DataRefused, "a name stands twice", ""),
            (Reply(b'"\xff"'), DataRefused, "is no JSON: 'utf-8' codec", ""),
            (Reply(b"[" * 100_000), DataRefused, "is no JSON", ""),
            (Reply(b'{"data": []}'), InvalidDefinition, "nothing at `items`, and an array is due; the answer has `data`",
             "source.http_json.records"),
            (Reply(b'{"items": {}}'), InvalidDefinition, "an object at `items`", "source.http_json.records"),
            (Reply(b'{"items": [{"id": 1, "name": ""}, 5]}'), DataRefused, "record 2 is `5`, and an object is due",
             "source.http_json.records"),
        ],
    )  # fmt: skip
    def test_the_error_says_what_came_and_where(
        self, api: ApiServer, source: Opener, reply: Reply, kind: type[PyMigrateError], says: str, field: str
    ) -> None:
        api.replies(reply)
        with pytest.raises(kind) as refused:
            source().describe(relation())
        assert says in refused.value.message
        if field != "source.http_json.records" or kind is not InvalidDefinition:
            assert f"{api.url}/people" in refused.value.message
        assert refused.value.field == field
        assert len(api.asked) == 1

    def test_a_later_page_without_its_records_is_refused_with_its_address(self, api: ApiServer, source: Opener) -> None:
        api.replies(*[json_reply({"items": ROWS[:5]})] * 2, json_reply({"error": "busy"}))
        with pytest.raises(DataRefused, match="page=2: there is nothing at `items`"):
            rows_of(source(), relation(PageNumberPaging()))

    def test_a_record_without_a_declared_field_is_refused_with_its_row(self, api: ApiServer, source: Opener) -> None:
        api.replies(json_reply({"items": [*ROWS[:3], {"id": 4, "nam": "x"}]}))
        with pytest.raises(DataRefused) as refused:
            rows_of(source(), relation())
        assert (
            "people, column `name`, row 4: the record has no such field; did you mean `nam`?" in refused.value.message
        )
        assert refused.value.field == "source.columns.name"

    def test_columns_must_be_declared_and_the_first_page_suggests_them(self, api: ApiServer, source: Opener) -> None:
        record = {"id": 1, "name": "x", "price": 1.10, "tags": [], "gone": None, "is_on": True}
        api.replies(json_reply({"items": [record]}))
        with pytest.raises(InvalidDefinition) as refused:
            source().describe(relation(columns={}))
        assert refused.value.field == "source.columns"
        assert (
            "id: {type: int64}, name: {type: string}, price: {type: json}, tags: {type: json}, gone: {type: string}, "
            "is_on: {type: bool}"
        ) in refused.value.message

    def test_a_key_is_among_the_declared_columns(self, api: ApiServer, source: Opener) -> None:
        api.replies(json_reply({"items": [{"id": 1, "name": "x"}]}))
        asked = relation(columns={"name": "string"})
        with pytest.raises(InvalidDefinition, match="`id` is not among the declared columns") as refused:
            source().describe(SourceRelation(asked.relation, asked.format, asked.columns, ("id",)))
        assert refused.value.field == "key"

    @pytest.mark.parametrize("path", ["../admin", "a//b", "http://elsewhere/x", "people?x=1", "people#x", ".", ""])
    def test_a_path_that_leads_elsewhere_is_refused(self, source: Opener, path: str) -> None:
        with pytest.raises(InvalidDefinition) as refused:
            source().describe(SourceRelation(path, columns={"id": parse_type("int64")}))
        assert refused.value.field == "source.relation"

    def test_a_path_is_quoted_and_lies_below_the_base(self, api: ApiServer, source: Opener) -> None:
        api.answer = everything
        asked = SourceRelation("/my people/ä%2F", HttpJsonFormat("items"), relation().columns)
        source(base_url=f"{api.url}/v2/").describe(asked)
        assert api.asked[0].path == "/v2/my people/ä%2F"

    def test_a_format_of_files_is_refused(self, source: Opener) -> None:
        with pytest.raises(InvalidDefinition, match="answers in JSON"):
            source().describe(SourceRelation("people", JsonLinesFormat()))

    def test_a_body_without_end_is_cut_off(self, api: ApiServer, clock: HastyClock) -> None:
        api.replies(Reply(gzip.compress(b" " * 3_000_000), headers={"Content-Encoding": "gzip"}))
        system = SystemSpec("http", "crm", {"base_url": api.url})
        client = HttpClient(system, RequestPace(clock, 0), clock, random.Random(1), body_bytes_max=1_000_000)
        with closing(HttpSource(client)) as opened, pytest.raises(DataRefused, match="more than 1,000,000 bytes"):
            opened.describe(relation())

    def test_an_api_is_no_target(self, api: ApiServer) -> None:
        with pytest.raises(FailedPrecondition, match="a source only"):
            HttpApiConnector().open_target(SystemSpec("http", "crm", {"base_url": api.url}))


class TestTrust:
    """Headers and certificates."""

    def test_headers_are_sent_and_secrets_are_not_shown(self, api: ApiServer, source: Opener) -> None:
        api.replies(Reply(status=403))
        opened = source({"header.Authorization": Secret("Bearer s3cret")}, **{"header.X-Tenant": "north"})
        with pytest.raises(FailedPrecondition) as refused:
            opened.describe(relation())
        assert api.asked[0].headers["authorization"] == "Bearer s3cret"
        assert api.asked[0].headers["x-tenant"] == "north"
        assert "s3cret" not in refused.value.message

    def test_a_certificate_that_nobody_vouches_for_is_refused_and_one_that_is_declared_taken(
        self, tmp_path: Path, clock: HastyClock
    ) -> None:
        made, trusted, key = certificates.make(), tmp_path / "ca.pem", tmp_path / "key.pem"
        trusted.write_bytes(made.pem)
        key.write_bytes(made.key)
        with serving((str(trusted), str(key))) as safe:
            safe.answer = everything
            for options, is_trusted in (({}, False), ({"ca_file": str(trusted)}, True)):
                system = SystemSpec("http", "crm", {"base_url": safe.url.replace("127.0.0.1", "localhost"), **options})
                with closing(HttpApiConnector(clock).open_source(system)) as opened:
                    if is_trusted:
                        assert opened.describe(relation()).rows == len(ROWS)
                        continue
                    with pytest.raises(FailedPrecondition, match="CERTIFICATE_VERIFY_FAILED"):
                        opened.describe(relation())
        assert clock.waits == []

    def test_certificates_that_can_not_be_read_are_told(self, source: Opener) -> None:
        with pytest.raises(FailedPrecondition, match=r"/nowhere\.pem can't be read"):
            source(ca_file="/nowhere.pem")

    def test_a_test_of_the_connection_asks_the_base_and_takes_any_answer_but_a_refusal(
        self, api: ApiServer, source: Opener
    ) -> None:
        for reply in (
            Reply(status=404),
            Reply(b"<html>", media_type="text/html"),
            Reply(status=301, headers={"Location": "/"}),
        ):
            api.replies(reply)
            assert source().version() == f"HTTP API at {api.url}"
        api.replies(Reply(status=401))
        with pytest.raises(FailedPrecondition, match="answered 401"):
            source().version()


class TestValues:
    """Records become columns without loss."""

    def test_numbers_stay_as_they_are_written(self, api: ApiServer, source: Opener) -> None:
        body = b'{"items": [{"price": 1.10, "extra": {"a": 1.10, "b": [1e2, null]}, "big": 18446744073709551615, "at": "12:30"}]}'
        api.replies(Reply(body))
        columns = {"price": "decimal(9,2)", "extra": "json", "big": "uint64", "at": "time"}
        [row] = rows_of(source(), relation(columns=columns))
        assert str(row["price"]) == "1.10"
        assert row["extra"] == '{"a": 1.10, "b": [1e2, null]}'
        assert row["big"] == 2**64 - 1
        assert str(row["at"]) == "12:30:00"

    @pytest.mark.parametrize(
        ("kind", "value"),
        [("int64", 1.5), ("decimal(9,2)", 1.125), ("float64", 10**30 + 1), ("bool", 1), ("date", "2024-02-30")],
    )
    def test_a_value_that_does_not_fit_is_refused_with_its_row(
        self, api: ApiServer, source: Opener, kind: str, value: object
    ) -> None:
        api.replies(json_reply({"items": [{"x": None}, {"x": value}]}))
        with pytest.raises(DataRefused, match="people, column `x`, row 2: ") as refused:
            rows_of(source(), relation(columns={"x": kind}))
        assert refused.value.field == "source.columns.x"

    def test_texts_that_stand_for_null_are_null(self, api: ApiServer, source: Opener) -> None:
        api.replies(json_reply({"items": [{"x": ""}, {"x": "-"}, {"x": "y"}]}))
        found = rows_of(source(), relation(columns={"x": "string"}, null_values=("", "-")))
        assert [row["x"] for row in found] == [None, None, "y"]

    def test_an_etag_tells_whether_a_whole_answer_changed(self, api: ApiServer, source: Opener) -> None:
        api.replies(json_reply({"items": []}, ETag='"v1"'), json_reply({"items": []}, ETag='W/"v1"'))
        assert source().state(relation()) == '"v1"'
        assert source().state(relation()) == ""
        assert source().state(relation(PageNumberPaging())) == ""

    def test_large_pages_come_in_batches(self, api: ApiServer, source: Opener) -> None:
        api.replies(json_reply([{"id": number, "name": ""} for number in range(20_000)]))
        opened, asked = source(), relation(records="")
        [chunk] = opened.chunks(asked, opened.describe(asked).columns, None)
        assert [batch.num_rows for batch in chunk.batches] == [8192, 8192, 3616]
        assert pa.Table.from_batches(chunk.batches).column("id").to_pylist() == list(range(20_000))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=4))
def test_a_json_pointer_finds_any_name(names: list[str]) -> None:
    document: object = 7
    for name in reversed(names):
        document = {name: document}
    pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
    assert found_at(document, pointer) == 7


def test_places_lead_through_arrays_and_end_where_there_is_nothing() -> None:
    document = {"a": [{"b": 1}, 2]}
    assert found_at(document, "a.0.b") == found_at(document, "/a/0/b") == 1
    assert found_at(document, "") is document
    for place in ("a.2", "a.x", "a.0.b.c", "/", "b"):
        assert found_at(document, place) is not None
        assert not isinstance(found_at(document, place), (int, dict, list))
