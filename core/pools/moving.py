"""Moving: a pool whose jobs keep something in a place that its variables name, and that is to be another one.

What is in the old place is of use to nobody once no job is there, so it is removed, as the plan says. Runs in progress
could not be followed any more, so a pool that has some does not move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolform.core.errors import NotFound, NotReady
from poolform.core.pools.contract import Moves
from poolform.core.pools.proposal import Sentence
from poolform.core.pools.records import connection_of, credential_of
from poolform.core.store import runs

if TYPE_CHECKING:
    from poolform.core.pools.catalogue import Registered
    from poolform.core.pools.planning import Context
    from poolform.core.store.database import Transaction
    from poolform.core.store.pools import WorkPool


def to_leave(context: Context, pool: WorkPool, registered: Registered, variables: Any) -> tuple[Sentence, ...]:
    """Say what of a pool as it is connected now would go. Raises NotReady while runs are in progress there."""
    text = _leaving(pool, registered, variables)
    if text is None:
        return ()
    with context.store.read() as tx:
        require_idle(tx, pool)
    return (Sentence("destroy", text),)


def require_idle(tx: Transaction, pool: WorkPool) -> None:
    """Refuse to move a pool in which runs are in progress. Raises NotReady."""
    active, _ = runs.unfinished(tx, pool.id)
    if active:
        number = "1 run is" if active == 1 else f"{active} runs are"
        raise NotReady(
            f"{number} in progress in the work pool {pool.name}, which cannot move meanwhile: whatever they have is "
            "where it is now.",
            hint=f"Let nothing more begin (poolform work-pool pause {pool.name}), and wait until they have ended or "
            f"cancel them: poolform flow-run ls --pool {pool.name}",
        )


def leave(context: Context, pool: WorkPool, registered: Registered, variables: Any) -> None:
    """Remove what a pool has where it is connected now, if it is to be connected elsewhere. Can be run again."""
    if _leaving(pool, registered, variables) is None:
        return
    connection = connection_of(pool)
    assert connection is not None
    assert isinstance(registered.pool_type, Moves)
    try:
        credential = credential_of(pool, context.blocks)
    except NotFound:
        credential = None
    with registered.acting("disconnect"):
        registered.pool_type.disconnect(connection, credential)


def _leaving(pool: WorkPool, registered: Registered, variables: Any) -> str | None:
    connection, pool_type = connection_of(pool), registered.pool_type
    if connection is None or not isinstance(pool_type, Moves):
        return None
    with registered.acting("leaves"):
        return pool_type.leaves(connection, variables)
