"""An HTTP API as a source: pages of JSON records, in the API's own order.

There is no snapshot. What was committed is read again after a crash and compared, as for every source that can't tell whether it changed;
an answer that is the only page may have an ETag that tells.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from pymigrate.engine.adapters.connectors.http_client import Answer, HttpClient
from pymigrate.engine.adapters.connectors.http_paging import (
    Page,
    Place,
    check_end,
    fetch,
    following,
    found_at,
    place_of,
    place_problems,
    request,
)
from pymigrate.engine.adapters.connectors.json_values import array_of, decode, written
from pymigrate.engine.adapters.connectors.source_values import check_declared, refused, shown
from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.http_format import HttpJsonFormat
from pymigrate.engine.ports.ranges import EVERYTHING, Position, SourceRange
from pymigrate.engine.ports.relations import UNKNOWN, RelationInfo, SourceRelation
from pymigrate.engine.ports.source import Source, SourceChunk

BATCH_ROWS_MAX = 8_192
SUGGESTED_MAX = 20
WEAK = "W/"
_SUGGESTED = {bool: "bool", int: "int64", str: "string", dict: "json", list: "json"}


class HttpSource:
    """See the port. A relation is a path below the API's base URL."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    def is_sessionless(self) -> bool:
        """Every page is a request of its own."""
        return True

    def hand_over(self, heir: Source) -> bool:
        """Nothing: every page is a request of its own."""
        return isinstance(heir, HttpSource)

    def version(self) -> str:
        """The API's origin, once it has answered at all: whatever it says about its base URL, it is there."""
        return f"HTTP API at {self._client.reached()}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """None: an API does not tell which paths it has."""
        del glob, limit
        return ()

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """The declared columns, in the order in which the first page's records have them. Its bytes are those of the first page, where
        that is all."""
        form = _form(relation)
        page = self._page(relation, form, Place())
        if page is None:
            return RelationInfo(relation.relation, ())
        names = list(dict.fromkeys(name for record in page.records for name in record))
        if not relation.columns:
            raise InvalidDefinition((Problem("source.columns", _suggestion(relation, page, names)),))
        if names:
            check_declared(relation, names)
        order = [*(name for name in names if name in relation.columns), *sorted(set(relation.columns) - set(names))]
        if problems := [
            Problem("key", f"`{name}` is not among the declared columns{nearest(name, order)}")
            for name in relation.key
            if name not in order
        ]:
            raise InvalidDefinition(tuple(problems))
        columns = tuple(ColumnInfo(name, relation.columns[name]) for name in order)
        place = following(form, Place(), page, self._client)
        rows = place.rows if place.is_end else place.total
        size = len(page.answer.body) if place.is_end else UNKNOWN
        return RelationInfo(relation.relation, columns, (), rows, size, is_exact_rows=rows != UNKNOWN)

    def state(self, relation: SourceRelation) -> str:
        """The ETag of an answer that is everything; empty where there are pages, or a weak ETag or none."""
        form = _form(relation)
        if form.paging is not None:
            return ""
        etag = self._client.get(request(self._client, relation.relation, form, Place())).etag
        return "" if etag.startswith(WEAK) else etag

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """One range: where a page begins is known when the one before is read."""
        del relation, parts
        return (EVERYTHING,)

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """Whole pages, until they come to about the chunk's bytes."""
        form, place = _form(relation), place_of(after)
        batches, size = list[pa.RecordBatch](), 0
        while not place.is_end and (page := self._page(relation, form, place)) is not None:
            batches += self._batches(relation, form, page, columns, place.rows)
            size += len(page.answer.body)
            place = following(form, place, page, self._client)
            if not place.is_end and size >= relation.chunk_bytes and batches:
                yield _chunk(batches, size, place)
                batches, size = [], 0
        check_end(relation.relation, place)
        if batches:
            yield _chunk(batches, size, place)

    def close(self) -> None:
        """Closes the connections to the API."""
        self._client.close()

    def _page(self, relation: SourceRelation, form: HttpJsonFormat, place: Place) -> Page | None:
        url = request(self._client, relation.relation, form, place)
        answer = fetch(self._client, url, form, place)
        if answer is None:
            return None
        document = _document(answer)
        if problem := place_problems(form, document):
            if place.pages:
                raise DataRefused(f"{answer.url}: {problem.problems[0].description}", field=problem.field)
            raise problem
        records = found_at(document, form.records)
        for at, record in enumerate(records, 1):
            if not isinstance(record, dict):
                why = f"record {at} is {shown(written(record))}, and an object is due"
                raise DataRefused(f"{answer.url}: {why}", field="source.http_json.records")
        return Page(answer, document, records)

    def _batches(
        self, relation: SourceRelation, form: HttpJsonFormat, page: Page, columns: Sequence[ColumnInfo], row: int
    ) -> list[pa.RecordBatch]:
        schema, nulls, batches = arrow_schema(columns), frozenset(form.null_values), list[pa.RecordBatch]()
        for first in range(0, page.rows, BATCH_ROWS_MAX):
            some = page.records[first : first + BATCH_ROWS_MAX]
            arrays = [
                array_of(relation.relation, column, _values(relation, column.name, some, row), row, nulls)
                for column in columns
            ]
            batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
            row += len(some)
        return batches


def _form(relation: SourceRelation) -> HttpJsonFormat:
    form = relation.format or HttpJsonFormat()
    if not isinstance(form, HttpJsonFormat):
        problem = Problem("source.http_json", f"`{relation.relation}` is of an HTTP API, which answers in JSON")
        raise InvalidDefinition((problem,))
    return form


def _document(answer: Answer) -> Any:
    """The answer as JSON. Raises DataRefused that says what it is instead."""
    text = answer.body.decode("utf-8-sig", errors="replace")
    if answer.media_type not in {"", "text/plain"} and "json" not in answer.media_type:
        raise DataRefused(f"{answer.url}: the answer is {answer.media_type}, not JSON: {shown(' '.join(text.split()))}")
    try:
        answer.body.decode("utf-8-sig")
        return decode(text)
    except (ValueError, RecursionError) as error:
        raise DataRefused(f"{answer.url}: the answer is no JSON: {error}: {shown(' '.join(text.split()))}") from error


def _values(relation: SourceRelation, name: str, records: Sequence[dict[str, Any]], row: int) -> list[Any]:
    try:
        return [record[name] for record in records]
    except KeyError:
        at = next(at for at, record in enumerate(records, 1) if name not in record)
        why = f"the record has no such field{nearest(name, records[at - 1])}"
        raise refused(relation.relation, name, row + at, why) from None


def _suggestion(relation: SourceRelation, page: Page, names: Sequence[str]) -> str:
    """What to declare, as the first page shows it."""
    found = []
    for name in names[:SUGGESTED_MAX]:
        kinds = {
            _SUGGESTED.get(type(record.get(name)), "json") for record in page.records if record.get(name) is not None
        }
        found.append(f"{name}: {{type: {kinds.pop() if len(kinds) == 1 else 'string' if not kinds else 'json'}}}")
    text = f"an HTTP API declares no types: say which fields of `{relation.relation}` are read, and as what"
    return f"{text}; its first page may mean {', '.join(found)}" if found else text


def _chunk(batches: list[pa.RecordBatch], size: int, place: Place) -> SourceChunk:
    return SourceChunk(tuple(batches), sum(batch.num_rows for batch in batches), size, place.text())
