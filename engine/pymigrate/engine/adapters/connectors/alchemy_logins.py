"""Logins by SQLAlchemy that are refused, by the codes of each dialect's servers."""

from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from pymigrate.engine.adapters.connectors.refused_logins import POSTGRES_REFUSES, refused_login
from pymigrate.engine.ports.connector import SystemSpec

STATES = ("28",)  # SQL's class of refused authorisations: 28000, 28P01
# Of drivers that give the server's own number: MySQL and MariaDB, SQL Server, Oracle.
CODES = {
    "mysql": frozenset({1045, 1698, 1820, 1862, 3118, 3955, 4151}),
    "mariadb": frozenset({1045, 1698, 1820, 1862, 3118, 3955, 4151}),
    "mssql": frozenset({18452, 18456, 18486, 18487, 18488}),
    "oracle": frozenset({1005, 1017, 28000, 28001}),
}
TEXTS = ("ORA-01017", "Login failed for user")


def tell_refused_logins(engine: Engine, system: SystemSpec) -> None:
    """From now on a refused login of the engine is CredentialsRefused."""

    @event.listens_for(engine, "handle_error")
    def refuse(context: ExceptionContext) -> None:
        if is_refused_login(engine.dialect.name, context.original_exception):
            where = f"{engine.dialect.name} at {engine.url.host or engine.url.database}"
            raise refused_login(system, where, str(context.original_exception)) from context.original_exception


def is_refused_login(dialect: str, error: Any) -> bool:
    """Whether a driver's error says that it was the login."""
    first = error.args[0] if getattr(error, "args", ()) else None
    code = getattr(first, "code", first)  # Oracle's drivers have an object there
    fields = first if isinstance(first, dict) else {}  # and pg8000 the server's own fields
    states = (getattr(error, "sqlstate", None), getattr(error, "pgcode", None), fields.get("C"), code)
    if any(isinstance(state, str) and len(state) == 5 and state.startswith(STATES) for state in states):
        return True
    return (
        code in CODES.get(dialect, ())
        if isinstance(code, int)
        else (bool(POSTGRES_REFUSES.search(str(error))) or any(text in str(error) for text in TEXTS))
    )
