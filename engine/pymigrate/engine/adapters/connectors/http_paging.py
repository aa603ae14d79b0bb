"""How one page of an API leads to the next. A position is what the next request needs, with the records before it, as JSON.

Whatever the API does, reading ends: pages that go round in a circle are found (Brent's way, with one place kept), and there is a limit.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import orjson

from pymigrate.engine.adapters.connectors.http_client import Answer, HttpClient, PageMissing
from pymigrate.engine.adapters.connectors.json_values import Number
from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem, SourceChanged
from pymigrate.engine.ports.http_format import (
    CursorPaging,
    HttpJsonFormat,
    LinkHeaderPaging,
    OffsetPaging,
    PageNumberPaging,
)
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import UNKNOWN

PAGES_MAX = 10_000_000
ABSENT = object()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next page is: `at` is its number, offset, cursor or address, by the kind of paging; empty for the first.

    `rows` and `pages` come before it, of `total` records in all where the API tells. `body` is the digest of the page before,
    `page_rows` the records of the first, and `is_short` says that a page had fewer. `mark` is the digest of an `at` met before, with
    `mark_pages` before it: where it comes again, pages go round.
    """

    at: str = ""
    rows: int = 0
    pages: int = 0
    total: int = UNKNOWN
    body: str = ""
    page_rows: int = 0
    is_short: bool = False
    is_end: bool = False
    mark: str = ""
    mark_pages: int = 0

    def text(self) -> Position:
        """What `place_of` reads."""
        return Position(orjson.dumps(self).decode())


def place_of(position: Position | None) -> Place:
    """The place of a position; the first page without one."""
    return Place() if position is None else Place(**orjson.loads(position))


def found_at(document: Any, place: str) -> Any:
    """What stands at a JSON pointer (RFC 6901), or at names with dots between; ABSENT where nothing does."""
    for name in _names(place):
        if isinstance(document, dict):
            document = document.get(name, ABSENT)
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return ABSENT
    return document


def request(client: HttpClient, relation: str, form: HttpJsonFormat, place: Place) -> str:
    """The address of the page at the place."""
    match form.paging:
        case PageNumberPaging(parameter, size_parameter, size, first_page):
            paging = {parameter: place.at or str(first_page)} | ({size_parameter: str(size)} if size_parameter else {})
        case OffsetPaging(parameter, limit_parameter, limit):
            paging = {parameter: place.at or "0", limit_parameter: str(limit)}
        case CursorPaging(_, parameter) if parameter:
            paging = {parameter: place.at} if place.at else {}
        case CursorPaging() | LinkHeaderPaging() if place.at:
            return client.linked(place.at, client.origin)
        case _:
            paging = {}
    return client.address(relation, [*sorted({**form.parameters, **paging}.items())])


def fetch(client: HttpClient, url: str, form: HttpJsonFormat, place: Place) -> Answer | None:
    """The page; None where an API answers the page after a short one with 404."""
    try:
        return client.get(url)
    except PageMissing:
        if place.is_short and isinstance(form.paging, PageNumberPaging | OffsetPaging):
            return None
        raise


def following(form: HttpJsonFormat, place: Place, page: "Page", client: HttpClient) -> Place:
    """Where the next page is, or the end. Raises SourceChanged for a page between others that is shorter than the first, and DataRefused
    where pages go round."""
    rows = page.rows
    body = hashlib.blake2b(page.answer.body, digest_size=12).hexdigest()
    after = replace(place, rows=place.rows + rows, pages=place.pages + 1, body=body)
    after = _with_total(form, place, after, page)
    if after.rows == after.total:
        return replace(after, is_end=True)
    match form.paging:
        case PageNumberPaging(first_page=first_page):
            found = _counted(place, after, page, int(place.at or first_page) + 1)
        case OffsetPaging():
            found = _counted(place, after, page, int(place.at or 0) + rows)
        case CursorPaging(next, parameter):
            cursor = _cursor(page, next)
            at = client.linked(cursor, page.answer.url) if cursor and not parameter else cursor
            found = replace(after, at=at) if at else None
        case LinkHeaderPaging():
            at = page.answer.next_link
            found = replace(after, at=at) if at else None
        case _:
            found = None
    return replace(after, is_end=True) if found is None else _not_round(found, page)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer, read: the whole document, and its records."""

    answer: Answer
    document: Any
    records: list[dict[str, Any]]

    @property
    def rows(self) -> int:
        """How many records it has."""
        return len(self.records)


def place_problems(form: HttpJsonFormat, document: Any) -> InvalidDefinition | None:
    """What is wrong with where a page's records are said to stand."""
    found = found_at(document, form.records)
    where = f"at `{form.records}`" if form.records else "as the whole answer"
    if isinstance(found, list):
        return None
    known = ", ".join(f"`{name}`" for name in document) if isinstance(document, dict) else ""
    there = "nothing" if found is ABSENT else {dict: "an object", type(None): "null"}.get(type(found), "a value")
    text = f"there is {there} {where}, and an array is due" + (f"; the answer has {known}" if known else "")
    return InvalidDefinition((Problem("source.http_json.records", text),))


def _names(place: str) -> list[str]:
    if not place:
        return []
    if place.startswith("/"):
        return [name.replace("~1", "/").replace("~0", "~") for name in place[1:].split("/")]
    return place.split(".")


def _counted(place: Place, after: Place, page: Page, at: int) -> Place | None:
    """The next of pages that are counted: all but the last are as long as the first."""
    if not page.rows:
        return None
    if place.is_short or (place.pages and page.rows > place.page_rows):
        raise SourceChanged(
            f"{page.answer.url}: it has {page.rows} records after a page that had fewer than the first, with {place.page_rows}: "
            "records came or went while they were read, or pages are not of one size; read it while it rests, or by cursor",
            field="source.relation",
        )
    if place.body == after.body and place.total == UNKNOWN:
        raise DataRefused(
            f"{page.answer.url}: the page is the one before, word for word: the API does not heed the paging's parameter; where such "
            "pages are right, say where the answer tells the total"
        )
    first = place.page_rows or page.rows
    return replace(after, at=str(at), page_rows=first, is_short=page.rows < first)


def _cursor(page: Page, place: str) -> str:
    found = found_at(page.document, place)
    if found is ABSENT or found is None or found == "":
        return ""
    if isinstance(found, bool) or not isinstance(found, str | int | Number):
        raise DataRefused(f"{page.answer.url}: what stands at `{place}` is no cursor: a text or a number is due")
    return str(found)


def _not_round(place: Place, page: Page) -> Place:
    digest = hashlib.blake2b(place.at.encode(), digest_size=12).hexdigest()
    if digest == place.mark:
        raise DataRefused(f"{page.answer.url}: the page after it was read already: pages go round in a circle")
    if place.pages >= PAGES_MAX:
        raise DataRefused(f"{page.answer.url}: there are more than {PAGES_MAX:,} pages")
    if place.pages >= 2 * max(place.mark_pages, 1) or not place.mark:
        return replace(place, mark=digest, mark_pages=place.pages)
    return place


def _with_total(form: HttpJsonFormat, place: Place, after: Place, page: Page) -> Place:
    """The place after the page, with what the page says that there is in all."""
    if not form.total:
        return after
    total = found_at(page.document, form.total)
    if type(total) is not int or total < 0:
        problem = f"{page.answer.url}: what stands at `{form.total}` is no number of records"
        raise DataRefused(problem, field="source.http_json.total")
    if place.total not in {UNKNOWN, total}:
        raise SourceChanged(
            f"{page.answer.url}: there are {total:,} records, and a page before said {place.total:,}: read it while it rests",
            field="source.relation",
        )
    if after.rows > total:
        raise DataRefused(f"{page.answer.url}: {after.rows:,} records were read, and there are {total:,}")
    return replace(after, total=total)


def check_end(relation: str, place: Place) -> None:
    """Raises SourceChanged where fewer records came than the API says that there are."""
    if place.rows < place.total:
        raise SourceChanged(
            f"{relation}: the pages ended after {place.rows:,} records, and there are {place.total:,}: read it while it rests, or "
            "look at its paging",
            field="source.relation",
        )
