"""Alembic's entry: migrates over the connection that `configuration` was given."""

from __future__ import annotations

from alembic import context

from poolform.core.store.tables import metadata

connection = context.config.attributes["connection"]
# render_as_batch: SQLite changes a table by copying it.
context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
with context.begin_transaction():
    context.run_migrations()
