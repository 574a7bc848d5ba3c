"""A pool's own key: minted last, once; replaced when somebody revoked it; rotated on request; revoked before destroy.

Keys are minted outside Terraform, so that no secret is in its state. What changes keys runs under the pool's lock, and
can be run again: a key that no block holds was left by a crash, and is revoked before another one is made.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from poolform.core.blocks import Document
from poolform.core.errors import NotFound, NotReady, PoolformError
from poolform.core.pools.contract import ChecksCredentials, MintsCredentials, PoolType
from poolform.core.pools.lock import pool_lock, whoami
from poolform.core.pools.proposal import Sentence
from poolform.core.pools.records import connection_of, credential_block_name, credential_of, type_of
from poolform.core.pools.revisions import stored_variables
from poolform.core.store import blocks as rows
from poolform.core.store import history
from poolform.core.store import pools as store_pools

if TYPE_CHECKING:
    from poolform.core.blocks import Blocks
    from poolform.core.pools.catalogue import Registered
    from poolform.core.pools.contract import Connection, Credential, Finding
    from poolform.core.pools.planning import Context
    from poolform.core.store.pools import WorkPool


def to_come(context: Context, pool: WorkPool, registered: Registered, variables: Any) -> tuple[Sentence, ...]:
    """Say what will be done about the launcher's key once the plan is applied."""
    pool_type = registered.pool_type
    if not isinstance(pool_type, MintsCredentials):
        return ()
    if not pool_type.wants_key(variables):
        return to_go(pool)
    if _has_its_key(context, pool, registered, variables):
        return ()
    block = f"Create the credentials block {credential_block_name(pool)}"
    if pool.credential_block:
        block = f"Put it into the credentials block {pool.credential_block.partition('/')[2]}"
    return (Sentence("create", "Create a key for the pool's launcher"), Sentence("create", block))


def to_go(pool: WorkPool) -> tuple[Sentence, ...]:
    """Say what will be done about the key that the pool has, where it is not to have one any more."""
    if not pool.credential_block:
        return ()
    return (
        Sentence("destroy", "Revoke the key of the pool's launcher"),
        Sentence("destroy", f"Delete the credentials block {pool.credential_block.partition('/')[2]}"),
    )


def settle(
    context: Context, registered: Registered, variables: Any, pool: WorkPool, connection: Connection
) -> tuple[WorkPool, Credential | None]:
    """See to it that exactly the key which the pool's block holds exists, or none. Under the pool's lock."""
    pool_type = registered.pool_type
    if not isinstance(pool_type, MintsCredentials):
        return pool, None
    wanted = pool_type.wants_key(variables)
    held = _held(context.blocks, pool)
    issued = list(pool_type.issued(variables, connection))
    for key_id in issued:
        if not wanted or held is None or key_id != held.key_id:
            pool_type.revoke(variables, connection, key_id)
    if not wanted:
        return forget(context, pool), None
    if held is None or held.key_id not in issued:
        context.progress.on_step("Creating credentials")
        held = pool_type.mint(variables, connection)
        pool = _keep(context, pool, held)
    return pool, held


def rotate(context: Context, pool: WorkPool) -> WorkPool:
    """Give a ready pool's launcher a new key: mint it, wait until it works, store it, then revoke the old one.

    Running jobs are not touched; workers take the new key up by themselves. Raises NotReady for a pool that is not
    ready or has no key of its own, Busy, PoolformError when the new key does not work (the old one is kept then).
    """
    with pool_lock(context.settings, context.store, pool.id, pool.name, "block rotate"):
        with context.store.read() as tx:
            pool = store_pools.get(tx, pool.name)
        registered = type_of(context.plugins, pool)
        pool_type, connection = registered.pool_type, connection_of(pool)
        variables = stored_variables(registered, pool)
        if pool.state != "ready" or connection is None:
            raise NotReady(
                f"The work pool {pool.name} is {pool.state_in_words}, so its key cannot be rotated.",
                hint=f"Bring it up first: poolform work-pool provision-infra {pool.name}",
            )
        if not isinstance(pool_type, MintsCredentials) or not pool_type.wants_key(variables):
            raise NotReady(f"The work pool {pool.name} has no key of its own to rotate.")
        with registered.acting("the credential"):
            held = _held(context.blocks, pool)
            for key_id in pool_type.issued(variables, connection):
                if held is None or key_id != held.key_id:
                    pool_type.revoke(variables, connection, key_id)  # platforms allow a key or two at a time
            context.progress.on_step("Creating a new key")
            fresh = pool_type.mint(variables, connection)
            if isinstance(pool_type, ChecksCredentials):
                wait_until_accepted(pool_type, connection, fresh)
            pool = _keep(context, pool, fresh)
            if held is not None and held.key_id is not None:
                context.progress.on_step("Revoking the old key")
                pool_type.revoke(variables, connection, held.key_id)
        with context.store.write() as tx:
            history.add(
                tx, pool_id=pool.id, pool_name=pool.name, who=whoami(), action="rotate-key", outcome="done",
                summary={"plugin": registered.plugin.label, "key": fresh.key_id},
            )  # fmt: skip
    return pool


def check(registered: Registered | None, pool: WorkPool, blocks: Blocks) -> Finding | None:
    """Try the pool's credential once; None where there is no way to. Raises PluginError when the plugin fails at it."""
    connection = connection_of(pool)
    if registered is None or connection is None or not isinstance(registered.pool_type, ChecksCredentials):
        return None
    credential = credential_of(pool, blocks)
    with registered.acting("authenticate"):
        return registered.pool_type.authenticate(connection, credential)


def wait_until_accepted(pool_type: ChecksCredentials, connection: Connection, credential: Credential | None) -> None:
    """Return once the platform takes the credential: what was just made is not known everywhere at once.

    Raises PoolformError when that takes longer than the pool type has patience.
    """
    assert isinstance(pool_type, PoolType)
    deadline, pause = time.monotonic() + pool_type.patience.total_seconds(), 0.25
    while True:
        finding = pool_type.authenticate(connection, credential)
        if finding.verdict != "missing":
            return
        if time.monotonic() > deadline:
            raise PoolformError(f"{trouble(pool_type)}: {finding.message.rstrip('.')}.", hint=finding.hint)
        time.sleep(pause)
        pause = min(pause * 1.6, 5.0)


def trouble(pool_type: object) -> str:
    """Return how to begin to say that a pool cannot be used: pools without accounts have no credential to blame."""
    has_one = isinstance(pool_type, MintsCredentials)
    return "The pool's credential does not work" if has_one else "The pool cannot be used"


def forget(context: Context, pool: WorkPool) -> WorkPool:
    """Delete the block that holds the pool's credential, if there is one."""
    if not pool.credential_block:
        return pool
    block_type, _, name = pool.credential_block.partition("/")
    context.blocks.delete(block_type, name)
    with context.store.write() as tx:
        return store_pools.update(tx, pool.id, credential_block=None)


def _has_its_key(context: Context, pool: WorkPool, registered: Registered, variables: Any) -> bool:
    """Say whether the key that the pool's block holds exists: somebody may have revoked it, or deleted the block.

    The block is not opened: whoever plans need not have the keys that it is encrypted with.
    """
    connection = connection_of(pool)
    if connection is None or not pool.credential_block:
        return False
    with context.store.read() as tx:
        block = rows.find(tx, *pool.credential_block.split("/", 1))
    if block is None:
        return False
    assert isinstance(registered.pool_type, MintsCredentials)
    with registered.acting("the credential"):
        return block.key_id in registered.pool_type.issued(variables, connection)


def _held(blocks: Blocks, pool: WorkPool) -> Credential | None:
    try:
        return credential_of(pool, blocks)
    except NotFound:
        return None


def _keep(context: Context, pool: WorkPool, credential: Credential) -> WorkPool:
    """Store a credential, and note in the pool's record where; workers hear of a record that was written."""
    # A renamed pool keeps its block's name: whoever loads the block need not hear of it.
    name = pool.credential_block.partition("/")[2] if pool.credential_block else credential_block_name(pool)
    context.blocks.save(Document(credential.block_type, name, dict(credential.data), credential.key_id))
    with context.store.write() as tx:
        return store_pools.update(tx, pool.id, credential_block=f"{credential.block_type}/{name}")
