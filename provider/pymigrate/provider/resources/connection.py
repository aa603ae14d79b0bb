"""pymigrate_connection."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.sdk.diagnostics import Path, Refused
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.provider.sdk.values import Unknown
from pymigrate.v1 import connection_pb2

SYSTEMS = tuple(field.name for field in connection_pb2.Connection.DESCRIPTOR.oneofs_by_name["system"].fields)


class ConnectionResource(DeclaredResource):
    """How to reach a system. Another kind of system is another connection."""

    declaration = Declaration(
        "connection",
        "ConnectionService",
        connection_pb2,
        parent="environment",
        required=(
            *(
                "sqlite.path",
                "duckdb.path",
                "files.root",
                "http.base_url",
                "iceberg.catalog_path",
                "plugin.kind",
                "iceberg.warehouse",
                "sqlalchemy.url",
            ),
            *(f"{system}.{field}" for system in ("postgres", "mysql") for field in ("host", "database", "user")),
        ),
    )

    def validate(self, context: Context, config: State) -> None:
        """Exactly one kind of system."""
        given = [name for name in SYSTEMS if config.get(name) is not None]
        if any(config.get(name) is Unknown for name in SYSTEMS):
            return
        if len(given) != 1:
            found = f"{' and '.join(given)} are set" if given else "none is set"
            raise Refused(
                "A connection reaches exactly one system", f"Set one of {', '.join(SYSTEMS)}; {found}.", given[1:2]
            )

    def requires_replace(self, prior: State, planned: State) -> list[Path]:
        """The kind can't change."""
        return [[name] for name in SYSTEMS if (prior.get(name) is None) != (planned.get(name) is None)]
