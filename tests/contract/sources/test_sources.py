"""The contract, for every kind of source; PostgreSQL in every version at hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from pymigrate.engine.domain.errors import DataRefused, SourceMissing
from pymigrate.engine.ports.ranges import EVERYTHING
from tests.apis import ApiServer
from tests.contract.sources.source_contract import ROWS, Open, SourceContract
from tests.contract.sources.systems import System, chunks_of, lay, lay_alchemy, lay_api, lay_glob, lay_mariadb, rows_of
from tests.servers import MariadbDatabase


class TestFiles(SourceContract):
    """See the contract."""

    @pytest.fixture(params=["sqlite", "duckdb", "csv", "csv.gz", "json_lines", "json_lines.zst", "parquet"])
    def system(self, request: pytest.FixtureRequest, tmp_path: Path) -> System:
        return lay(request.param, tmp_path, "")


class TestGlobs(SourceContract):
    """Several files as one relation, one of them packed. What is named and listed there are files."""

    @pytest.fixture(params=["csv", "json_lines"])
    def system(self, request: pytest.FixtureRequest, tmp_path: Path) -> System:
        return lay_glob(request.param, tmp_path)

    def test_relations_are_listed_by_name(self, system: System, opened: Open) -> None:
        system.write("people", ROWS[:3])

        found = [info.relation.partition(".")[0] for info in opened(system).relations("*", 100)]

        assert found == ["people/1", "people/2", "people/3"]

    def test_an_unknown_relation_is_answered_with_the_nearest_name(self, system: System, opened: Open) -> None:
        with pytest.raises(SourceMissing, match="no file of the connection's folder matches `peopel/") as found:
            opened(system).describe(system.relation("peopel"))
        assert found.value.field == "source.relation"

    def test_a_value_that_does_not_fit_is_refused_with_its_place(self, system: System, opened: Open) -> None:  # type: ignore[override]  # one value says it: what is new is the file's name
        system.write("people", [(1, "1"), (2, "2"), (3, "3"), (4, "4"), (5, "5"), (6, "12O")])

        with pytest.raises(DataRefused, match=r"people/3\.\w+, column `name`, row 2: `12O`") as refusal:
            chunks_of(opened(system), system.relation("people", types={"name": "int64"}))
        assert refusal.value.field == "source.columns.name"

    @pytest.mark.parametrize("rows", [0, 1, 2])
    def test_what_is_smaller_than_its_parts_is_split_into_fewer(self, system: System, opened: Open, rows: int) -> None:
        """A file may hold no row, which its size does not tell: such a range is empty."""
        system.write("people", ROWS[:rows])
        source, relation = opened(system), system.relation("people")
        ranges = source.split(relation, 9)
        found = [row for span in ranges for row in rows_of(chunks_of(source, replace(relation, range=span)))]
        assert 1 <= len(ranges) <= 9
        assert sorted(found) == sorted(ROWS[:rows])


class TestPostgres(SourceContract):
    """See the contract."""

    @pytest.fixture
    def system(self, tmp_path: Path, postgres_database: str) -> System:
        return lay("postgres", tmp_path, postgres_database)


class TestMariadb(SourceContract):
    """See the contract; once in the order of a key, and once in that of the digests of rows."""

    @pytest.fixture(params=[", PRIMARY KEY (id)", ""], ids=["keyed", "keyless"])
    def system(self, request: pytest.FixtureRequest, mariadb_database: MariadbDatabase) -> System:
        return lay_mariadb(mariadb_database, request.param)


class TestHttpApi(SourceContract):
    """See the contract; an API tells neither its paths nor how much there is, and is read by one lane."""

    @pytest.fixture
    def system(self, api: ApiServer) -> System:
        return lay_api(api)

    def test_a_description_has_columns_and_no_wrong_size(self, system: System, opened: Open) -> None:
        system.write("people", ROWS)
        info = opened(system).describe(system.relation("people"))
        assert [(column.name, column.type.kind) for column in info.columns] == [("id", "int64"), ("name", "string")]
        assert (info.rows, info.bytes, info.is_exact_rows) == (-1, -1, False)

    def test_relations_are_listed_by_name(self, system: System, opened: Open) -> None:
        system.write("people", ROWS[:3])
        assert opened(system).relations("*", 10) == ()

    def test_an_unknown_relation_is_answered_with_the_nearest_name(self, system: System, opened: Open) -> None:
        with pytest.raises(SourceMissing, match=r"/peopel.*answered 404: .*no such path") as found:
            opened(system).describe(system.relation("peopel"))
        assert found.value.field == "source.relation"

    @pytest.mark.parametrize("parts", [1, 64])
    def test_the_ranges_of_a_split_hold_every_row_once(self, system: System, opened: Open, parts: int) -> None:
        system.write("people", ROWS)
        source, relation = opened(system), system.relation("people")
        assert source.split(relation, parts) == (EVERYTHING,)
        assert rows_of(chunks_of(source, relation)) == ROWS


class TestSqlalchemy(SourceContract):
    """See the contract; read by one lane in the order of a key."""

    @pytest.fixture
    def system(self, tmp_path: Path) -> System:
        return lay_alchemy(tmp_path)

    def test_a_description_has_columns_and_no_wrong_size(self, system: System, opened: Open) -> None:
        system.write("people", ROWS)
        info = opened(system).describe(system.relation("people"))
        assert [(column.name, column.type.kind) for column in info.columns] == [("id", "int64"), ("name", "string")]
        assert (info.rows, info.bytes, info.is_exact_rows) == (-1, -1, False)

    @pytest.mark.parametrize("parts", [1, 64])
    def test_the_ranges_of_a_split_hold_every_row_once(self, system: System, opened: Open, parts: int) -> None:
        system.write("people", ROWS)
        source, relation = opened(system), system.relation("people")
        assert source.split(relation, parts) == (EVERYTHING,)
        assert sorted(rows_of(chunks_of(source, relation))) == sorted(ROWS)
