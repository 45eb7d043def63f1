"""Alembic's entry: the caller brings the connection and the lock (see migrate.py)."""

from alembic import context

from pulse_adapters.postgres.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
