"""Blocks as rows: a type, a name, and data that core/blocks.py encrypted. Nothing here can read it."""

# ruff: noqa: A002 - arguments are called as the columns are
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from poolform.core.errors import AlreadyExists, NotFound, nearest
from poolform.core.store.names import new_id
from poolform.core.store.rows import Record, read

if TYPE_CHECKING:
    from poolform.core.store.database import Transaction


@dataclass(frozen=True)
class Block(Record):
    """A named, typed, encrypted document. `key_id` is the public name of the key it holds, where it holds one."""

    id: str
    type: str
    name: str
    data: str = field(repr=False)
    key_id: str | None
    created_at: float
    updated_at: float


def create(
    tx: Transaction,
    *,
    type: str,
    name: str,
    data: str,
    key_id: str | None = None,
) -> Block:
    """Store a new block. Raises AlreadyExists."""
    rows = tx.execute(
        "INSERT INTO blocks (id, type, name, data, key_id, created_at, updated_at) "
        "VALUES (:id, :type, :name, :data, :key_id, :now, :now) ON CONFLICT DO NOTHING RETURNING *",
        {"id": new_id(), "type": type, "name": name, "data": data, "key_id": key_id, "now": tx.now()},
    )
    if not rows:
        raise AlreadyExists(
            f"A block {type}/{name} exists already.", hint=f"Delete it first: poolform block delete {type}/{name}"
        )
    return read(Block, rows[0])


def save(
    tx: Transaction,
    *,
    type: str,
    name: str,
    data: str,
    key_id: str | None = None,
) -> Block:
    """Store a block, in place of one of the same type and name."""
    rows = tx.execute(
        "INSERT INTO blocks (id, type, name, data, key_id, created_at, updated_at) "
        "VALUES (:id, :type, :name, :data, :key_id, :now, :now) ON CONFLICT (type, name) DO UPDATE "
        "SET data = excluded.data, key_id = excluded.key_id, updated_at = excluded.updated_at RETURNING *",
        {"id": new_id(), "type": type, "name": name, "data": data, "key_id": key_id, "now": tx.now()},
    )
    return read(Block, rows[0])


def find(tx: Transaction, type: str, name: str) -> Block | None:
    """Return the block, or None."""
    rows = tx.execute("SELECT * FROM blocks WHERE type = :type AND name = :name", {"type": type, "name": name})
    return read(Block, rows[0]) if rows else None


def get(tx: Transaction, type: str, name: str) -> Block:
    """Return the block. Raises NotFound with the nearest names."""
    block = find(tx, type, name)
    if block is None:
        known = [f"{row['type']}/{row['name']}" for row in tx.execute("SELECT type, name FROM blocks")]
        raise NotFound(f"There is no block {type}/{name}.", hint=nearest(f"{type}/{name}", known))
    return block


def list_all(tx: Transaction, *, type: str | None = None) -> list[Block]:
    """Return all blocks by type and name, or those of one type."""
    where = "WHERE type = :type" if type is not None else ""
    rows = tx.execute(f"SELECT * FROM blocks {where} ORDER BY type, name", {"type": type} if where else {})  # noqa: S608
    return [read(Block, row) for row in rows]


def replace_data(tx: Transaction, block: Block, data: str) -> bool:
    """Store a block's data anew (another encryption key). False when somebody changed the block since it was read."""
    return bool(
        tx.change(
            "UPDATE blocks SET data = :new WHERE id = :id AND data = :old",
            {"new": data, "id": block.id, "old": block.data},
        )
    )


def delete(tx: Transaction, type: str, name: str) -> bool:
    """Delete the block and say whether there was one."""
    return bool(tx.change("DELETE FROM blocks WHERE type = :type AND name = :name", {"type": type, "name": name}))
