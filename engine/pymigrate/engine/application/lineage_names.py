"""What OpenLineage calls a relation: a namespace for its system and a name in it, as the specification's naming has them.

Systems that it does not name get a scheme of their own. No user, password or option of a connection is ever in a name.
"""

from urllib.parse import quote, urlsplit

from pymigrate.engine.domain.names import last_segment
from pymigrate.v1 import connection_pb2

FILE = "file"
PORTS = {"postgres": 5432, "mysql": 3306}
SCHEMA_DEFAULT = "public"
URI_SAFE = "/:?#[]@!$&'()*+,;=%"  # what RFC 3986 allows in one beside letters, digits and what is always safe


def dataset_name(connection: connection_pb2.Connection, relation: str) -> tuple[str, str]:
    """Namespace and name."""
    match connection.WhichOneof("system"):
        case "postgres":
            system = connection.postgres
            qualified = relation if "." in relation else f"{SCHEMA_DEFAULT}.{relation}"
            return f"postgres://{system.host}:{system.port or PORTS['postgres']}", f"{system.database}.{qualified}"
        case "mysql":
            server = connection.mysql
            qualified = relation if "." in relation else f"{server.database}.{relation}"
            return f"mysql://{server.host}:{server.port or PORTS['mysql']}", qualified
        case "sqlite":
            return f"sqlite://{connection.sqlite.path}", relation
        case "duckdb":
            return f"duckdb://{connection.duckdb.path}", relation
        case "iceberg":
            return f"iceberg://{connection.iceberg.catalog_path}", relation
        case "files":
            return _placed(connection.files.root, relation)
        case "http":
            return _placed(connection.http.base_url, relation)
        case "sqlalchemy":
            url = urlsplit(connection.sqlalchemy.url)
            return f"{url.scheme.partition('+')[0]}://{_authority(connection.sqlalchemy.url)}{url.path}", relation
        case _:
            return f"{connection.plugin.kind or 'unknown'}://{last_segment(connection.name)}", relation


def source_uri(namespace: str, name: str) -> str:
    """Where a relation's system is, as the URI that the facet asks for: local files have one only with their path."""
    return quote(namespace if "://" in namespace else f"{namespace}://{name}", safe=URI_SAFE)


def _placed(root: str, relation: str) -> tuple[str, str]:
    path = f"/{relation.lstrip('/')}"
    if "://" not in root:
        return FILE, f"{root.rstrip('/')}{path}"
    url = urlsplit(root)
    return f"{url.scheme}://{_authority(root)}", f"{url.path.rstrip('/')}{path}"


def _authority(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
