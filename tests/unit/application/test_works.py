"""What a host is told: which hosts may do it, and a staging that no other attempt has."""

import re

import pytest

from pymigrate.engine.application import works
from pymigrate.v1 import connection_pb2

SYSTEMS = {
    "file:/w.duckdb": connection_pb2.Connection(duckdb=connection_pb2.DuckdbSystem(path="/w.duckdb")),
    "file:/w.db": connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path="/w.db")),
    "shared": connection_pb2.Connection(postgres=connection_pb2.PostgresSystem(host="h")),
}


@pytest.mark.parametrize("affinity", SYSTEMS)
def test_a_file_that_admits_one_writer_has_one_host(affinity: str) -> None:
    assert works.affinity_of(SYSTEMS[affinity]) == affinity


def test_only_a_duckdb_file_is_read_by_its_own_host_too() -> None:
    found = {affinity: works.reader_affinity(system) for affinity, system in SYSTEMS.items()}
    assert found == {
        "file:/w.duckdb": "file:/w.duckdb",
        "file:/w.db": "shared",
        "shared": "shared",
    }


def test_a_dataset_is_moved_by_its_targets_host_or_else_by_the_one_that_may_read_its_source() -> None:
    duckdb, sqlite, postgres = SYSTEMS.values()
    assert works.dataset_affinity(duckdb, postgres) == "file:/w.duckdb"
    assert works.dataset_affinity(duckdb, sqlite) == "file:/w.db"
    assert works.dataset_affinity(sqlite, postgres) == "shared"
    assert works.dataset_affinity(postgres, duckdb) == "file:/w.duckdb"


def test_an_iceberg_catalogue_has_one_host_for_its_file() -> None:
    lake = connection_pb2.Connection(iceberg=connection_pb2.IcebergSystem(catalog_path="/c.db", warehouse="/w"))
    assert works.affinity_of(lake) == "file:/c.db"
    assert works.reader_affinity(lake) == "shared"


def test_a_folder_of_files_admits_many_writers() -> None:
    folder = connection_pb2.Connection(files=connection_pb2.FilesSystem(root="/lake"))
    assert works.affinity_of(folder) == "shared"


def test_every_attempt_of_every_dataset_has_a_staging_of_its_own() -> None:
    run = "environments/e/plans/p/runs/r"
    places = [(run, "a", "d", 1), (run, "a", "d", 2), (run, "a", "e", 1), (run, "b", "d", 1), (f"{run}2", "a", "d", 1)]
    ids = [works.staging_id(*place) for place in places]
    assert len(set(ids)) == len(places)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,39}", found) for found in ids)
    assert works.staging_id(*places[0]) == ids[0]


@pytest.mark.parametrize(
    ("relation", "system", "scratch"),
    [
        ("orders", "postgres", "orders_probe0123abcd"),
        ("mart.orders", "postgres", "mart.orders_probe0123abcd"),
        ("mart.a.b", "postgres", "mart.a.b_probe0123abcd"),
        ("x" * 70, "postgres", "x" * 49 + "_probe0123abcd"),
        ("mart." + "ü" * 40, "postgres", "mart." + "ü" * 24 + "_probe0123abcd"),
        ("x" * 64, "mysql", "x" * 50 + "_probe0123abcd"),
        ("lake/2024.parts/orders", "files", "lake/2024.parts/orders_probe0123abcd"),
        ("or.ders", "files", "or.ders_probe0123abcd"),
        ("orders", "plugin", "orders_probe0123abcd"),
    ],
)
def test_a_scratch_relation_lies_beside_its_relation_under_a_name_that_the_target_allows(
    relation: str, system: str, scratch: str
) -> None:
    assert works.scratch_relation(relation, system, "0123abcd") == scratch
