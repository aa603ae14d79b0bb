"""pymigrate_connection."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.v1 import connection_pb2


class ConnectionResource(DeclaredResource):
    """How to reach a system. Another kind of system is another connection."""

    declaration = Declaration(
        "connection",
        "ConnectionService",
        connection_pb2,
        parent="environment",
        kinds=tuple(field.name for field in connection_pb2.Connection.DESCRIPTOR.oneofs_by_name["system"].fields),
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
