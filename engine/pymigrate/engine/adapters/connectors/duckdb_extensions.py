"""DuckDB's extensions from the packages that bring them: a worker host fetches nothing on its own."""

from importlib.util import find_spec
from pathlib import Path

import duckdb

from pymigrate.engine.domain.errors import FailedPrecondition


def load(connection: duckdb.DuckDBPyConnection, extension: str) -> None:
    """Loads `sqlite_scanner` or `postgres_scanner`. Raises FailedPrecondition where its package does not fit this DuckDB."""
    package = f"duckdb_extension_{extension}"
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{extension}.duckdb_extension"
        if path.is_file():
            connection.load_extension(str(path))
            return
    raise FailedPrecondition(
        f"there is no {extension} for DuckDB {duckdb.__version__}: install {package.replace('_', '-')} of the same version"
    )
