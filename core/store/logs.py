"""The lines that jobs printed, kept after their infrastructure is gone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from poolform.core.store.rows import Record, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.store.database import Transaction


@dataclass(frozen=True)
class LogRow(Record):
    """One line of one attempt. `seq` counts from 1 within the attempt; `at` is in seconds since the epoch."""

    run_id: str
    attempt: int
    seq: int
    at: float
    line: str


def append(tx: Transaction, rows: Sequence[LogRow]) -> None:
    """Store lines; those that are there already stay, as a commit may have worked that seemed to fail."""
    tx.execute_many(
        "INSERT INTO logs (run_id, attempt, seq, at, line) VALUES (:run_id, :attempt, :seq, :at, :line) "
        "ON CONFLICT DO NOTHING",
        [{**asdict(row), "line": storable(row.line)} for row in rows],
    )


def of_run(tx: Transaction, run_id: str, *, after: tuple[int, int] = (0, 0), limit: int = 1000) -> list[LogRow]:
    """Return lines of a run that follow (attempt, seq), oldest first."""
    rows = tx.execute(
        "SELECT run_id, attempt, seq, at, line FROM logs WHERE run_id = :run "
        "AND (attempt > :attempt OR (attempt = :attempt AND seq > :seq)) ORDER BY attempt, seq LIMIT :limit",
        {"run": run_id, "attempt": after[0], "seq": after[1], "limit": limit},
    )
    return [read(LogRow, row) for row in rows]


def last_seq(tx: Transaction, run_id: str, attempt: int) -> int:
    """Return the number of the last line of an attempt; 0 where there is none."""
    rows = tx.execute(
        "SELECT max(seq) AS last FROM logs WHERE run_id = :run AND attempt = :attempt",
        {"run": run_id, "attempt": attempt},
    )
    return rows[0]["last"] or 0


def storable(text: str) -> str:
    """Return text as both databases take it: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
