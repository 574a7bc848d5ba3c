"""Which schema a database has, and how it gets today's.

Opening compares `alembic_version` with `HEAD` in plain SQL. A new database is made from a script written out of
`tables.py` (milliseconds, where importing SQLAlchemy and Alembic alone takes a third of a second); an older one is
migrated by Alembic. Both under a lock, and in one transaction: it happens once and as a whole, whoever dies.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from poolform.core.errors import StoreError

if TYPE_CHECKING:
    from poolform.core.store.database import Store, Transaction

REVISIONS = ("0001", "0002", "0003")
"""Every revision that there ever was, oldest first. A test holds it equal to Alembic's history."""

HEAD = REVISIONS[-1]

_LOCK = 7_015_309_417_000  # any number will do, as long as nobody else's advisory lock has it

_EXISTS = {
    "sqlite": "SELECT count(*) AS found FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'",
    "postgresql": "SELECT count(*) AS found FROM pg_tables "
    "WHERE schemaname = current_schema() AND tablename = 'alembic_version'",
}


def bring_up_to_date(store: Store[Any]) -> None:
    """Create or migrate the schema where it is not today's. Raises StoreError for one newer than this Poolform."""
    with store.read() as tx:
        revision = _revision(tx)
    if revision == HEAD:
        return
    if revision is None:
        _create(store)
        return
    if revision not in REVISIONS:
        raise StoreError(
            f"The database {store.name} was written by a newer Poolform (schema {revision}, this one knows {HEAD}).",
            hint="Upgrade Poolform here: pip install --upgrade poolform",
        )
    from poolform.core.store.migrations import upgrade

    store.close()  # a migration may need the tables to itself
    upgrade(store, lock=_LOCK)


def script(dialect: str) -> list[str]:
    """Return the statements that make a new database."""
    text = files("poolform.core.store").joinpath(f"{dialect}.sql").read_text(encoding="utf-8")
    return [statement for statement in text.split(";\n") if statement.strip()]


def _create(store: Store[Any]) -> None:
    with store.write() as tx:
        if tx.dialect == "postgresql":
            tx.execute("SELECT pg_advisory_xact_lock(:lock)", {"lock": _LOCK})
        if _revision(tx) is not None:
            return  # somebody else was first
        for statement in script(tx.dialect):
            tx.execute(statement)


def _revision(tx: Transaction) -> str | None:
    if not tx.execute(_EXISTS[tx.dialect])[0]["found"]:
        return None
    rows = tx.execute("SELECT version_num FROM alembic_version")
    return rows[0]["version_num"] if rows else None
