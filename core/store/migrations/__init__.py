"""Alembic, run from inside: no alembic.ini, and the scripts travel in the wheel.

A new revision: change `tables.py`; `alembic.command.revision(configuration(connection), message, autogenerate=True)`;
append it to `REVISIONS` in schema.py; `tables.write_scripts()`. The tests hold all of these together.
"""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from poolform.core.errors import StoreError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

    from poolform.core.store.database import Store


def upgrade(store: Store[Any], *, lock: int, revision: str = "head") -> None:
    """Bring an older database to `revision` in one transaction, alone. Raises StoreError; then nothing was changed."""
    from alembic import command
    from alembic.util import CommandError
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with engine(store).begin() as connection:
            if store.dialect == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
            command.upgrade(configuration(connection), revision)
    except (SQLAlchemyError, CommandError) as exc:
        raise StoreError(
            f"The database {store.name} could not be brought up to date: {getattr(exc, 'orig', None) or exc}",
            hint="Nothing was changed. Stop whatever else uses it, and try again.",
        ) from exc


def configuration(connection: Connection) -> Config:
    """Return an Alembic configuration that works on this connection."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(files(__name__)).replace("%", "%%"))
    return config


def engine(store: Store[Any]) -> Engine:
    """Return a SQLAlchemy engine on the store, whose transactions cover the changes of tables too."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    if store.dialect == "postgresql":
        from poolform.core.store.postgresql import PostgresqlStore

        assert isinstance(store, PostgresqlStore)
        url = store.url

        def connect() -> Any:
            import psycopg

            return psycopg.connect(url)

        return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)

    made = create_engine(
        "sqlite://",
        # isolation_level=None: the driver must not begin and commit on its own around CREATE and ALTER.
        creator=lambda: sqlite3.connect(store.name, timeout=store.patience, isolation_level=None),
        poolclass=NullPool,
    )

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return made
