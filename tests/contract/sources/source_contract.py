"""What holds for every source, whatever its kind. A test class inherits it and brings a `system`."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pyarrow as pa
import pytest

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, SourceChanged, SourceMissing
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.ranges import parse_range
from pymigrate.engine.ports.source import Source
from tests.contract.sources.systems import Row, System, chunks_of, rows_of

ROWS: list[Row] = [(number, None if number % 7 == 0 else f"name {number} é") for number in range(1_000, 0, -1)]
Open = Callable[[System], Source]


class SourceContract:
    """See the port."""

    def test_every_row_arrives_as_it_is(self, system: System, opened: Open) -> None:
        system.write("people", ROWS)
        source, relation = opened(system), system.relation("people")

        chunks = chunks_of(source, relation)

        assert sorted(rows_of(chunks)) == sorted(ROWS)
        assert sum(chunk.rows for chunk in chunks) == len(ROWS)
        assert all(chunk.bytes > 0 and chunk.rows > 0 for chunk in chunks)

    def test_batches_have_the_schema_of_the_columns_asked_for(self, system: System, opened: Open) -> None:
        system.write("people", ROWS)
        source, relation = opened(system), system.relation("people")
        columns = source.describe(relation).columns

        whole = list(source.chunks(relation, columns, None))
        turned = list(source.chunks(relation, columns[::-1], None))
        names = list(source.chunks(relation, columns[1:], None))

        for some, found in ((columns, whole), (columns[::-1], turned), (columns[1:], names)):
            assert {batch.schema for chunk in found for batch in chunk.batches} == {arrow_schema(some)}
        assert rows_of(turned) == [row[::-1] for row in rows_of(whole)]
        assert rows_of(names) == [row[1:] for row in rows_of(whole)]

    def test_a_column_that_is_gone_when_rows_are_read_is_named(self, system: System, opened: Open) -> None:
        """A run's columns are those that there were when it was started."""
        system.write("people", ROWS[:3])
        source, relation = opened(system), system.relation("people")
        columns = [*source.describe(relation).columns, ColumnInfo("gone", ColumnType("string"))]
        if (
            system.kind == "json_lines"
        ):  # what a line does not have is NULL in it; that the file is another one its state tells
            assert {row[-1] for row in rows_of(list(source.chunks(relation, columns, None)))} == {None}
            return

        with pytest.raises((SourceChanged, DataRefused), match="column `gone`") as found:
            list(source.chunks(relation, columns, None))
        assert "people" in found.value.message
        assert found.value.field == "source.columns.gone"

    def test_reading_on_after_any_chunk_gives_exactly_the_rest(self, system: System, opened: Open) -> None:
        system.write("people", ROWS)
        relation = system.relation("people", chunk_bytes=4_000)
        chunks = chunks_of(opened(system), relation)
        rows = rows_of(chunks)
        assert len(chunks) > 3

        done = 0
        for chunk in chunks:
            done += chunk.rows
            assert rows_of(chunks_of(opened(system), relation, chunk.end)) == rows[done:]

    def test_the_size_of_chunks_does_not_change_the_order(self, system: System, opened: Open) -> None:
        system.write("people", ROWS)
        source = opened(system)

        small, large = (rows_of(chunks_of(source, system.relation("people", size))) for size in (500, 10_000_000))

        assert small == large

    def test_an_empty_relation_gives_nothing(self, system: System, opened: Open) -> None:
        system.write("people", [])
        source, relation = opened(system), system.relation("people")
        if system.kind != "json_lines":  # whose rows are all that tells of its columns
            assert [column.name for column in source.describe(relation).columns] == ["id", "name"]

        assert chunks_of(source, relation) == []

    def test_chunks_are_not_much_larger_than_asked_for(self, system: System, opened: Open) -> None:
        wide: list[Row] = [(number, chr(97 + number % 26) * 20_000) for number in range(200)]
        system.write("documents", wide)

        chunks = chunks_of(opened(system), system.relation("documents", chunk_bytes=100_000))

        assert sorted(rows_of(chunks)) == wide
        held = [sum(batch.nbytes for batch in chunk.batches) for chunk in chunks]
        assert max(held) < 500_000
        assert len(chunks) > 10

    def test_two_relations_can_be_read_in_turns(self, system: System, opened: Open) -> None:
        system.write("people", ROWS)
        system.write("animals", ROWS[:500])
        source = opened(system)
        people, animals = system.relation("people"), system.relation("animals")
        first = source.chunks(people, source.describe(people).columns, None)

        beginning = next(first)
        others = rows_of(chunks_of(source, animals))

        assert sorted(others) == sorted(ROWS[:500])
        assert sorted(rows_of([beginning, *first])) == sorted(ROWS)

    def test_the_state_changes_with_the_content_and_only_then(self, system: System) -> None:
        def state_of(system: System) -> str:
            with closing(system.open()) as source:
                return source.state(system.relation("people"))

        system.write("people", ROWS)
        before, again = state_of(system), state_of(system)
        system.write("people", [*ROWS[:-1], (1, "another")])
        after = state_of(system)

        assert before == again
        if system.is_state_known:
            assert before != after
        else:
            assert (before, after) == ("", "")

    def test_a_description_has_columns_and_no_wrong_size(self, system: System, opened: Open) -> None:
        system.write("people", ROWS)
        info = opened(system).describe(system.relation("people"))

        assert [(column.name, column.type.kind) for column in info.columns] == [("id", "int64"), ("name", "string")]
        assert info.rows in {-1, len(ROWS)}
        assert info.rows == len(ROWS) or not info.is_exact_rows
        assert info.bytes > 0

    def test_relations_are_listed_by_name(self, system: System, opened: Open) -> None:
        for name in ("people", "animals", "places"):
            system.write(name, ROWS[:3])
        source = opened(system)

        def names(glob: str, limit: int = 100) -> list[str]:
            return [info.relation.removesuffix(system.ending) for info in source.relations(glob, limit)]

        assert names("*") == ["animals", "people", "places"]
        assert names("p*") == ["people", "places"]
        assert names("*", 2) == ["animals", "people"]
        assert names("nothing") == []

    def test_an_unknown_relation_is_answered_with_the_nearest_name(self, system: System, opened: Open) -> None:
        system.write("people", ROWS[:3])
        source, relation = opened(system), system.relation("peopel")

        with pytest.raises(SourceMissing, match=rf"did you mean `people{system.ending}`\?") as found:
            source.describe(relation)
        assert found.value.field == "source.relation"
        with pytest.raises(SourceMissing, match="peopel"):
            list(source.chunks(relation, (), None))

    def test_unknown_columns_and_keys_are_answered_with_the_nearest_name(self, system: System, opened: Open) -> None:
        system.write("people", ROWS[:3])
        relation = system.relation("people", types={"naem": "string"}, key=("idd", "id", "quite_another"))

        with pytest.raises(InvalidDefinition) as found:
            opened(system).describe(relation)

        assert [problem.field for problem in found.value.problems] == ["source.columns.naem", "key", "key"]
        assert "did you mean `name`?" in found.value.problems[0].description
        assert "did you mean `id`?" in found.value.problems[1].description
        assert "there are `id`, `name`" in found.value.problems[2].description

    @pytest.mark.parametrize(
        ("value", "kind"), [("12O", "int64"), ("2024-02-30", "date"), ("1.0", "int32"), ("{", "json")]
    )
    def test_a_value_that_does_not_fit_is_refused_with_its_place(
        self, system: System, opened: Open, value: str, kind: str
    ) -> None:
        good = {"int64": "12", "date": "2024-02-29", "int32": "1", "json": "{}"}[kind]
        system.write("people", [(1, good), (2, None), (3, value), (4, good)])
        source, relation = opened(system), system.relation("people", types={"name": kind})

        if system.kind in {"json_lines", "http"} and kind == "json":  # where any text is JSON
            assert rows_of(chunks_of(source, relation))[2] == (3, '"{"')
            return
        with pytest.raises(DataRefused) as found:
            chunks_of(source, relation)

        assert f"people{system.ending}, column `name`, row " in found.value.message
        assert value in found.value.message
        places = {"postgres": "ctid=(0,3)", "duckdb": "rowid=2", "mysql": system.place}
        assert places.get(system.kind, "row 3") in found.value.message
        assert found.value.field == "source.columns.name"

    def test_text_is_read_strictly_as_the_declared_type(self, system: System, opened: Open) -> None:
        system.write("people", [(1, "2024-02-29 23:59:59.123456"), (2, None)])
        source, relation = opened(system), system.relation("people", types={"name": "timestamp"})

        [batch] = [batch for chunk in chunks_of(source, relation) for batch in chunk.batches]

        assert batch.column("name").type == pa.timestamp("us")
        assert sorted(map(str, batch.column("name"))) == ["2024-02-29 23:59:59.123456", "None"]

    def test_a_source_says_what_it_is_and_may_be_closed_twice(self, system: System) -> None:
        source = system.open()
        assert source.version()
        source.close()
        source.close()

    @pytest.mark.parametrize("parts", [1, 2, 3, 7, 64])
    def test_the_ranges_of_a_split_hold_every_row_once(self, system: System, opened: Open, parts: int) -> None:
        system.write("people", ROWS)
        source, relation = opened(system), system.relation("people", chunk_bytes=700)
        ranges = source.split(relation, parts)

        assert 1 <= len(ranges) <= parts
        assert [parse_range(span.text()) for span in ranges] == list(ranges)
        found = [rows_of(chunks_of(source, replace(relation, range=span))) for span in ranges]
        assert [row for part in found for row in part] == rows_of(chunks_of(source, relation))
        if parts == 2 and system.is_splittable:
            assert len(ranges) == 2
            assert max(map(len, found)) < 0.8 * len(ROWS)

    def test_reading_on_within_a_range_ends_where_the_range_does(self, system: System, opened: Open) -> None:
        system.write("people", ROWS)
        source, relation = opened(system), system.relation("people", chunk_bytes=700)
        for span in source.split(relation, 3):
            part = replace(relation, range=span)
            chunks = chunks_of(source, part)
            done = 0
            for chunk in chunks:
                done += chunk.rows
                assert rows_of(chunks_of(opened(system), part, chunk.end)) == rows_of(chunks)[done:]

    @pytest.mark.parametrize("rows", [0, 1, 2])
    def test_what_is_smaller_than_its_parts_is_split_into_fewer(self, system: System, opened: Open, rows: int) -> None:
        system.write("people", ROWS[:rows])
        source, relation = opened(system), system.relation("people")
        ranges = source.split(relation, 9)
        found = [row for span in ranges for row in rows_of(chunks_of(source, replace(relation, range=span)))]
        assert 1 <= len(ranges) <= max(rows, 1)
        assert sorted(found) == sorted(ROWS[:rows])
