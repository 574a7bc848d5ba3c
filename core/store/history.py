"""What was done to work pools, by whom, with which plan. Stays when the pool is gone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from poolform.core.store.names import new_id
from poolform.core.store.rows import Record, encode, insert, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.store.database import Transaction


@dataclass(frozen=True)
class HistoryEntry(Record):
    """One thing done to one pool. `summary` is what the action wants remembered, such as counts of its plan."""

    JSON = frozenset({"summary"})

    id: str
    pool_id: str
    pool_name: str
    at: float
    who: str
    action: str
    outcome: str
    summary: dict[str, Any]
    plan_digest: str | None
    error: str | None


BEGUN = "begun"
"""The outcome of what goes on, and of what was killed until the next change of the pool finds that out."""

_INSERT = insert("pool_history", (field.name for field in fields(HistoryEntry)))


def add(
    tx: Transaction,
    *,
    pool_id: str,
    pool_name: str,
    who: str,
    action: str,
    outcome: str,
    summary: Mapping[str, Any] | None = None,
    plan_digest: str | None = None,
    error: str | None = None,
) -> HistoryEntry:
    """Remember one thing that was done."""
    entry = HistoryEntry(
        new_id(), pool_id, pool_name, tx.now(), who, action, outcome, dict(summary or {}), plan_digest, error
    )
    tx.execute(_INSERT, encode(HistoryEntry, asdict(entry)))
    return entry


def end(tx: Transaction, entry_id: str, *, outcome: str, error: str | None = None) -> None:
    """Say how something ended that was remembered when it began."""
    tx.execute(
        "UPDATE pool_history SET outcome = :outcome, error = :error WHERE id = :id",
        {"id": entry_id, "outcome": outcome, "error": error},
    )


def end_killed(tx: Transaction, pool_id: str) -> None:
    """Say of what began and never said how it ended that it was killed. Only for whoever holds the pool's lock."""
    tx.execute(
        "UPDATE pool_history SET outcome = 'failed', error = action || ' was killed before it ended.'"
        " WHERE pool_id = :pool AND outcome = :begun",
        {"pool": pool_id, "begun": BEGUN},
    )


def of_pool(tx: Transaction, pool_name: str, *, limit: int = 100) -> list[HistoryEntry]:
    """Return the newest entries of all pools that ever had this name, newest first."""
    rows = tx.execute(
        "SELECT * FROM pool_history WHERE pool_name = :name ORDER BY at DESC, id LIMIT :limit",
        {"name": pool_name, "limit": limit},
    )
    return [read(HistoryEntry, row) for row in rows]
