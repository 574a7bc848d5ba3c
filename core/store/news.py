"""News of runs: what plugins are still to hear, written in the transaction that changes a run (runs.enter_at).

A plugin hears for as long as it is among the subscribers, which a worker that has loaded it says now and then. One
worker at a time, the owner, tells each plugin its news, in order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from poolform.core.store import runs
from poolform.core.store.rows import Record, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolform.core.store.database import Transaction
    from poolform.core.store.runs import FlowRun, RunState

KEEP = 3 * 86400.0
"""Seconds that news is kept for a plugin that does not take it, and that a plugin which nobody loads is remembered."""


@dataclass(frozen=True)
class News(Record):
    """A state that a run came into."""

    id: int
    run_id: str
    attempt: int
    state: RunState
    reason: str | None
    at: float


def subscribe(tx: Transaction, plugin: str) -> bool:
    """Note that a plugin listens from now on; say whether that is new."""
    if tx.change("UPDATE subscribers SET seen_at = :now WHERE plugin = :plugin", {"plugin": plugin, "now": tx.now()}):
        return False
    return bool(
        tx.change(
            "INSERT INTO subscribers (plugin, seen_at) VALUES (:plugin, :now) ON CONFLICT DO NOTHING",
            {"plugin": plugin, "now": tx.now()},
        )
    )


def unsubscribe(tx: Transaction, plugin: str) -> None:
    """Note that a plugin has heard all and listens no more; nothing is done while it has not, or another tells it."""
    tx.change(
        "DELETE FROM subscribers WHERE plugin = :plugin AND owner IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM news WHERE news.plugin = :plugin)",
        {"plugin": plugin},
    )


def own(tx: Transaction, plugin: str, owner: str, *, lease: float) -> bool:
    """Become, or stay, the one who tells a plugin its news, for `lease` seconds. False: somebody else is."""
    now = tx.now()
    return bool(
        tx.change(
            "UPDATE subscribers SET owner = :owner, until = :until, seen_at = :now "
            "WHERE plugin = :plugin AND (owner IS NULL OR owner = :owner OR until < :now)",
            {"plugin": plugin, "owner": owner, "until": now + lease, "now": now},
        )
    )


def disown(tx: Transaction, owner: str) -> None:
    """Let others tell what this one told."""
    tx.change("UPDATE subscribers SET owner = NULL, until = NULL WHERE owner = :owner", {"owner": owner})


def oldest(tx: Transaction, plugin: str, *, most: int) -> Sequence[tuple[News, FlowRun]]:
    """Return a plugin's oldest news, each with its run as it was told to be: in that state, in that attempt."""
    rows = tx.execute(
        "SELECT id, run_id, attempt, state, reason, at FROM news WHERE plugin = :plugin ORDER BY id LIMIT :most",
        {"plugin": plugin, "most": most},
    )
    found = [read(News, row) for row in rows]
    known = {run_id: runs.find(tx, run_id) for run_id in {one.run_id for one in found}}
    return [
        (one, replace(run, state=one.state, reason=one.reason, attempt=one.attempt))
        for one in found
        if (run := known[one.run_id]) is not None  # deleted since the statement before, and its news with it
    ]


def waiting(tx: Transaction, plugin: str) -> bool:
    """Say whether there is news for a plugin."""
    return bool(tx.execute("SELECT 1 AS one FROM news WHERE plugin = :plugin LIMIT 1", {"plugin": plugin}))


def told(tx: Transaction, ids: Iterable[int]) -> None:
    """Forget news that was told."""
    tx.execute_many("DELETE FROM news WHERE id = :id", [{"id": one} for one in ids])


def forget(tx: Transaction) -> None:
    """Forget the plugins that nobody has loaded for a long time, and what they were to hear."""
    rows = tx.execute("DELETE FROM subscribers WHERE seen_at < :old RETURNING plugin", {"old": tx.now() - KEEP})
    if rows:
        tx.change("DELETE FROM news WHERE plugin NOT IN (SELECT plugin FROM subscribers)")
