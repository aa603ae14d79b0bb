"""Runs revisions on the connection, and within the transaction, that the caller brings."""

from alembic import context

from pymigrate.engine.adapters.store.run_tables import RunRow

context.configure(connection=context.config.attributes["connection"], target_metadata=RunRow.metadata)
with context.begin_transaction():
    context.run_migrations()
