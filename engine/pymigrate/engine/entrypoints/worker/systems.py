"""How the contract's connections are reached, and what is called outside, with their secrets read."""

from collections.abc import Mapping

from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.calls import OutsideCall
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.secrets import Secret, Secrets, parse_secret_ref, reference_in
from pymigrate.v1 import connection_pb2, worker_pb2

PORTS_DEFAULT = {"postgres": 5432, "mysql": 3306}


SSL_MODE_DEFAULT = "prefer"


CALL_TIMEOUT_SECONDS = 30


HTTP_TIMEOUT_SECONDS = 30


HTTP_RETRIES_MAX = 5


ICEBERG_CATALOG_DEFAULT = "default"


def system_kind(connection: connection_pb2.Connection) -> str:
    """What opens the connection's system."""
    kind = connection.WhichOneof("system") or ""
    return connection.plugin.kind if kind == "plugin" else kind


def system_spec(connection: connection_pb2.Connection, secrets: Secrets) -> SystemSpec:
    """How to reach the connection's system. Raises SecretMissing and InvalidDefinition."""
    kind, name = connection.WhichOneof("system"), last_segment(connection.name)
    match kind:
        case "sqlite":
            return SystemSpec(kind, name, {"path": connection.sqlite.path})
        case "duckdb":
            return SystemSpec(kind, name, {"path": connection.duckdb.path})
        case "files":
            return _files_spec(name, connection.files, secrets)
        case "postgres":
            return _server_spec(kind, name, connection.postgres, secrets)
        case "mysql":
            return _server_spec(kind, name, connection.mysql, secrets)
        case "http":
            return _http_spec(name, connection.http, secrets)
        case "sqlalchemy":
            given = connection.sqlalchemy.password
            password = secrets.read(parse_secret_ref(given, "sqlalchemy.password")) if given else None
            return SystemSpec(kind, name, {"url": connection.sqlalchemy.url}, password)
        case "iceberg":
            system = connection.iceberg
            options = {
                "catalog_path": system.catalog_path,
                "warehouse": system.warehouse,
                "catalog_name": system.catalog_name or ICEBERG_CATALOG_DEFAULT,
            }
            return SystemSpec(kind, name, options)
        case "plugin":
            plain, hidden = _split_options(connection.plugin.options, secrets)
            return SystemSpec(connection.plugin.kind, name, plain, secrets=hidden)
        case _:
            raise ValueError(
                f"{connection.name} names no system that this worker host knows: it may be older than the engine"
            )


def _server_spec(
    kind: str, name: str, system: connection_pb2.PostgresSystem | connection_pb2.MysqlSystem, secrets: Secrets
) -> SystemSpec:
    """How to reach a database server that is logged in to."""
    user = reference_in(system.user, secrets.schemes)
    options = {
        "host": system.host,
        "port": str(system.port or PORTS_DEFAULT[kind]),
        "database": system.database,
        "user": system.user if user is None else secrets.read(user).reveal(),
        "ssl_mode": system.ssl_mode or SSL_MODE_DEFAULT,
    }
    password = secrets.read(parse_secret_ref(system.password, f"{kind}.password")) if system.password else None
    return SystemSpec(kind, name, options, password)


def _files_spec(name: str, system: connection_pb2.FilesSystem, secrets: Secrets) -> SystemSpec:
    options, hidden = _split_options(system.options, secrets, "option.")
    return SystemSpec("files", name, {"root": system.root, **options}, secrets=hidden)


def _split_options(
    given: Mapping[str, str], secrets: Secrets, prefix: str = ""
) -> tuple[dict[str, str], dict[str, Secret]]:
    """Options as they are, and those that are read because they are references, each under its name after the prefix."""
    options, hidden = dict[str, str](), dict[str, Secret]()
    for name, value in sorted(given.items()):
        if (ref := reference_in(value, secrets.schemes)) is not None:
            hidden[prefix + name] = secrets.read(ref)
        else:
            options[prefix + name] = value
    return options, hidden


def _http_spec(name: str, system: connection_pb2.HttpApiSystem, secrets: Secrets) -> SystemSpec:
    options = {
        "base_url": system.base_url,
        "requests_per_second_max": str(system.requests_per_second_max),
        "timeout_seconds": str(system.timeout_seconds or HTTP_TIMEOUT_SECONDS),
        "retries_max": str(max(0, system.retries_max or HTTP_RETRIES_MAX)),
        "ca_file": system.ca_file,
    }
    headers, hidden = _split_options(system.headers, secrets, "header.")
    return SystemSpec("http", name, {**options, **headers}, secrets=hidden)


def outside_call(work: worker_pb2.StepWork, secrets: Secrets) -> OutsideCall:
    """What to call, with the secrets of its headers. Raises SecretMissing."""
    headers: dict[str, str | Secret] = {}
    for name, value in sorted(work.call.headers.items()):
        ref = reference_in(value, secrets.schemes)
        headers[name] = value if ref is None else secrets.read(ref)
    return OutsideCall(
        method=work.call.method or "POST",
        url=work.call.url,
        key=work.key,
        headers=headers,
        body=work.call.body,
        timeout_seconds=float(work.call.timeout_seconds or CALL_TIMEOUT_SECONDS),
    )
