"""Any system that SQLAlchemy has a dialect for: the slow but general path, by the URL of the dialect."""

from pathlib import Path
from typing import TYPE_CHECKING

from pymigrate.engine.adapters.engine_homes import refuse_engine_home
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, Problem
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target

if TYPE_CHECKING:
    from sqlalchemy import Engine


class SqlalchemyConnector:
    """Databases by `url`, without its password."""

    kind = "sqlalchemy"

    def open_source(self, system: SystemSpec) -> Source:
        """Connects for reading. Raises FailedPrecondition where a driver is missing, with what to install."""
        from pymigrate.engine.adapters.connectors.alchemy_source import AlchemySource

        return AlchemySource(engine_of(system))

    def open_target(self, system: SystemSpec) -> Target:
        """Connects for writing. Raises the same."""
        from pymigrate.engine.adapters.connectors.alchemy_target import AlchemyTarget

        return AlchemyTarget(engine_of(system))


def engine_of(system: SystemSpec) -> "Engine":
    """SQLAlchemy's engine for the system; it keeps no connections. Nothing is contacted yet."""
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    from pymigrate.engine.adapters.connectors.alchemy_logins import tell_refused_logins

    try:
        url = make_url(system.options["url"])
    except (ArgumentError, ValueError) as error:
        raise InvalidDefinition((Problem("url", f"is no URL that SQLAlchemy reads: {error}"),)) from error
    if url.get_backend_name() in {"sqlite", "duckdb"} and url.database:
        refuse_engine_home(Path(url.database.removeprefix("file:").partition("?")[0]), "sqlalchemy.url")
    try:
        if system.password is not None:
            url = url.set(password=system.password.reveal())
        engine = create_engine(url, poolclass=NullPool)
    except NoSuchModuleError as error:
        raise FailedPrecondition(
            f"SQLAlchemy knows no dialect `{url.drivername}` here: install the package that brings it on the worker hosts"
        ) from error
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"the dialect `{url.drivername}` needs the Python package `{error.name}`: install it on the worker hosts"
        ) from error
    except (ArgumentError, TypeError) as error:
        raise InvalidDefinition((Problem("url", f"has what its dialect does not take: {error}"),)) from error
    tell_refused_logins(engine, system)
    return engine
