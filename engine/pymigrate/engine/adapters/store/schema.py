"""The schema's revision: compared at every start, brought up to date where it is older, refused where it is newer.

Alembic is imported only when there is something to do, for a start is meant to be quick.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from pymigrate.engine.domain.errors import FailedPrecondition

if TYPE_CHECKING:
    import alembic.config

HEAD = "0021"
MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "alembic_version"


def upgrade(connection: Connection) -> str | None:
    """Brings the schema to HEAD, in the transaction that the connection is in; the revision it had, if any. Raises FailedPrecondition
    for a schema that this version does not know."""
    stored = stored_revision(connection)
    if stored != HEAD:
        _require_known(connection, stored)
        from alembic import command

        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return stored


def stored_revision(connection: Connection) -> str | None:
    """The revision that the schema has; None for an empty database."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()
    return None if revision is None else str(revision)


def alembic_config() -> "alembic.config.Config":
    """What alembic needs to know; also for making a new revision."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _require_known(connection: Connection, stored: str | None) -> None:
    if stored is None:
        if foreign := [name for name in inspect(connection).get_table_names() if name != VERSION_TABLE]:
            raise FailedPrecondition(
                f"the store is a database of something else (it has a table {foreign[0]}): name another"
            )
        return
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if stored not in known:
        raise FailedPrecondition(
            f"the store was written by a newer PyMigrate (schema {stored}, this one knows {HEAD}): use that version or newer"
        )
