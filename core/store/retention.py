"""Retention: past runs, with their states and logs, deleted in batches that nobody notices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolform.core.store.database import Transaction

_PAST = (
    # Written so that the index on created_at is the one to use: what is older than the limit comes first in it.
    "created_at < :before AND coalesce(ended_at, created_at) < :before AND worker_id IS NULL "
    "AND state NOT IN ('scheduled', 'pending', 'submitted', 'running')"
)


@dataclass(frozen=True)
class Pruned:
    """What one batch deleted; `more` says that there may be more to delete."""

    runs: int
    more: bool


def prune(tx: Transaction, before: float, *, most_runs: int = 100, most_lines: int = 5000) -> Pruned:
    """Delete some runs that ended before `before`, the oldest first, with all that is kept of them.

    At most so many runs and lines of log, so that the transaction is short; what is held or waits is left alone.
    """
    skip = " FOR UPDATE SKIP LOCKED" if tx.dialect == "postgresql" else ""
    rows = tx.execute(
        f"SELECT id FROM flow_runs WHERE {_PAST} ORDER BY created_at LIMIT :most{skip}",  # noqa: S608 - constants
        {"before": before, "most": most_runs},
    )
    left, done = most_lines, 0
    for row in rows:
        left -= tx.change(
            "DELETE FROM logs WHERE run_id = :run AND (attempt, seq) IN "
            "(SELECT attempt, seq FROM logs WHERE run_id = :run ORDER BY attempt, seq LIMIT :left)",
            {"run": row["id"], "left": left},
        )
        if left <= 0:
            return Pruned(done, more=True)
        tx.change("DELETE FROM flow_runs WHERE id = :run", {"run": row["id"]})
        done += 1
    return Pruned(done, more=len(rows) == most_runs)


def count(tx: Transaction, before: float) -> int:
    """Return how many runs `prune` would delete, in the end."""
    return int(tx.execute(f"SELECT count(*) AS n FROM flow_runs WHERE {_PAST}", {"before": before})[0]["n"])  # noqa: S608
