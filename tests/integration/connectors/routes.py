"""A relation through the data plane's own calls, from a real source into a real target, without an engine around it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.adapters.connectors.duckdb import DuckdbConnector
from pymigrate.engine.adapters.connectors.files import FilesConnector
from pymigrate.engine.adapters.connectors.iceberg import IcebergConnector
from pymigrate.engine.adapters.connectors.mysql import MysqlConnector
from pymigrate.engine.adapters.connectors.postgres import PostgresConnector
from pymigrate.engine.adapters.connectors.sqlite import SqliteConnector
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.ports.connector import Connector, SystemSpec
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import PassingSource, Source, SourceChunk
from pymigrate.engine.ports.staging import Checkpoint, Staging, StagingId
from pymigrate.engine.ports.target import PassingTarget, Target

CONNECTORS: Mapping[str, Callable[[], Connector]] = {
    "postgres": PostgresConnector,
    "mysql": MysqlConnector,
    "sqlite": SqliteConnector,
    "duckdb": DuckdbConnector,
    "files": FilesConnector,
    "iceberg": IcebergConnector,
}


def postgres_spec(dsn: str) -> SystemSpec:
    """How connectors reach a database."""
    parts = conninfo_to_dict(dsn)
    options = {"host": parts["host"], "port": parts["port"], "database": parts["dbname"], "user": parts["user"]}
    return SystemSpec(
        "postgres", "shop", {name: str(value) for name, value in options.items()} | {"ssl_mode": "disable"}
    )


def moved(
    source: Source,
    target: Target,
    relation: SourceRelation,
    attempt: str = "a",
    path: CopyPath = CopyPath.ARROW,
    relations: Mapping[str, str] | None = None,
    **changes: object,
) -> Staging:
    """A staging of the whole relation with its rows, verified in nothing and not published. `relations` are target relations by source
    relation; those that are not named go nowhere, and the relation itself to its own name."""
    places, info = relations or {}, source.describe(relation)
    keys = tuple(replace(key, target_relation=places.get(key.relation, "")) for key in info.schema.foreign_keys)
    staging = Staging(
        StagingId(f"{relation.relation}_{attempt}"),
        places.get(relation.relation, relation.relation),
        info.columns,
        relation.key or info.key,
        is_replace=True,
        path=path,
        schema=replace(info.schema, foreign_keys=keys),
    )
    staging = replace(staging, **changes)  # type: ignore[arg-type]  # the fields of Staging
    target.check(staging)
    target.prepare(staging)
    target.claim(staging, "lane", 1)
    at = Checkpoint()
    if path is CopyPath.ARROW:
        for chunk in source.chunks(relation, info.columns, None):
            after = _step(at, chunk)
            target.commit(staging, "lane", 1, at, after, chunk.batches)
            at = after
    else:
        assert isinstance(source, PassingSource)
        assert isinstance(target, PassingTarget)
        for chunk in source.passing_chunks(relation, info.columns, path, None):
            after = _step(at, chunk)
            target.commit_passed(staging, "lane", 1, at, after, chunk.pieces)
            at = after
    return staging


def _step(at: Checkpoint, chunk: SourceChunk) -> Checkpoint:
    return replace(at, chunks=at.chunks + 1, rows=at.rows + chunk.rows)
