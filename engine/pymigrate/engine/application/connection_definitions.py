"""What may be declared of connections: which system is reached, and what each kind of it has to say."""

import re
from collections.abc import Collection, Iterator

from pymigrate.engine.application.field_definitions import (
    LANES_MAX,
    id_problems,
    range_problems,
    text_problems,
)
from pymigrate.engine.application.file_definitions import files_problems, option_problems, root_protocol
from pymigrate.engine.application.http_definitions import http_problems
from pymigrate.engine.application.references import secret_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import connection_pb2

LATENCY_FACTOR_MIN = 1.1
LATENCY_FACTOR_MAX = 100.0
RATE_MAX = 10**15
SYSTEMS = tuple(field.name for field in connection_pb2.Connection.DESCRIPTOR.oneofs_by_name["system"].fields)
_MYSQL_SSL_MODES = frozenset({"disable", "prefer", "require", "verify-ca", "verify-full"})
_POSTGRES_SSL_MODES = _MYSQL_SSL_MODES | {"allow"}


def connection_problems(connection: connection_pb2.Connection) -> Iterator[Problem]:
    """Problems of a connection. Nothing is contacted and no secret is read."""
    yield from text_problems(connection)
    yield from range_problems("lanes_max", connection.lanes_max, 0, LANES_MAX)
    factor = connection.latency_factor_max
    if factor and not LATENCY_FACTOR_MIN <= factor <= LATENCY_FACTOR_MAX:
        yield Problem("latency_factor_max", f"must be {LATENCY_FACTOR_MIN} to {LATENCY_FACTOR_MAX:g}, or 0 for 3")
    for field in ("bytes_per_second_max", "rows_per_second_max"):
        yield from range_problems(field, getattr(connection, field), 0, RATE_MAX)
    match connection.WhichOneof("system"):
        case "sqlite":
            yield from _absolute("sqlite.path", connection.sqlite.path)
        case "duckdb":
            yield from _absolute("duckdb.path", connection.duckdb.path)
        case "files":
            if not root_protocol(connection.files):
                yield from _absolute("files.root", connection.files.root)
            yield from files_problems(connection.files)
        case "postgres":
            yield from _server("postgres", connection.postgres, _POSTGRES_SSL_MODES)
        case "mysql":
            yield from _server("mysql", connection.mysql, _MYSQL_SSL_MODES)
        case "http":
            yield from http_problems(connection.http)
        case "iceberg":
            yield from _iceberg(connection.iceberg)
        case "plugin":
            yield from _plugin(connection.plugin)
        case "sqlalchemy":
            yield from _sqlalchemy(connection.sqlalchemy)
        case _:
            yield Problem("system", f"say what it reaches: set one of {', '.join(SYSTEMS)}")


def _server(
    kind: str, system: connection_pb2.PostgresSystem | connection_pb2.MysqlSystem, ssl_modes: Collection[str]
) -> Iterator[Problem]:
    """Problems of a database server that is logged in to."""
    for name in ("host", "database", "user"):
        if not getattr(system, name):
            yield Problem(f"{kind}.{name}", "is required")
    if "@" in system.host[1:]:  # one that begins with it is an abstract socket
        yield Problem(
            f"{kind}.host", "must be the server alone, without a login: set `user`, and a reference as `password`"
        )
    yield from range_problems(f"{kind}.port", system.port, 0, 65_535)
    if system.ssl_mode and system.ssl_mode not in ssl_modes:
        yield Problem(f"{kind}.ssl_mode", f"must be one of {', '.join(sorted(ssl_modes))}")
    yield from secret_problems(f"{kind}.password", system.password)


def _sqlalchemy(system: connection_pb2.SqlalchemySystem) -> Iterator[Problem]:
    scheme, separator, rest = system.url.partition("://")
    if not separator or not re.fullmatch(r"[a-z0-9_]+(\+[a-z0-9_]+)?", scheme):
        yield Problem("sqlalchemy.url", "is no URL of SQLAlchemy's: write dialect+driver://user@host:port/database")
    elif ":" in rest.partition("/")[0].rpartition("@")[0]:
        yield Problem("sqlalchemy.url", "must hold no password: name a reference to it as `password`")
    yield from secret_problems("sqlalchemy.password", system.password)


def _plugin(system: connection_pb2.PluginSystem) -> Iterator[Problem]:
    if system.kind in SYSTEMS:
        yield Problem("plugin.kind", f"`{system.kind}` is one of PyMigrate's own: set `{system.kind}` itself")
    yield from id_problems("plugin.kind", system.kind)
    yield from option_problems("plugin.options", system.options)


def _iceberg(system: connection_pb2.IcebergSystem) -> Iterator[Problem]:
    for name, value in (("catalog_path", system.catalog_path), ("warehouse", system.warehouse.removeprefix("file://"))):
        yield from _absolute(f"iceberg.{name}", value)
        if any(character in "%?#" or character.isspace() for character in value):
            yield Problem(
                f"iceberg.{name}", "must hold no space and none of %, ? and #, which tables refer to files with"
            )


def _absolute(path: str, value: str) -> Iterator[Problem]:
    if not value.startswith("/"):
        yield Problem(path, "must be an absolute path on the worker host, such as /data/sales.db")
    elif "\0" in value or "/../" in f"{value}/":
        yield Problem(path, "must not hold NUL or `..`")
