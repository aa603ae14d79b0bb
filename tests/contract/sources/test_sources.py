"""The contract, for every kind of source; PostgreSQL in every version at hand."""

from pathlib import Path

import pytest

from tests.contract.sources.source_contract import SourceContract
from tests.contract.sources.systems import System, lay


class TestFiles(SourceContract):
    """See the contract."""

    @pytest.fixture(params=["sqlite", "duckdb", "csv", "json_lines", "parquet"])
    def system(self, request: pytest.FixtureRequest, tmp_path: Path) -> System:
        return lay(request.param, tmp_path, "")


class TestPostgres(SourceContract):
    """See the contract."""

    @pytest.fixture
    def system(self, tmp_path: Path, postgres_database: str) -> System:
        return lay("postgres", tmp_path, postgres_database)
