"""Connecting: Terraform's outputs become the pool's connection, and credentials are made last.

Keys are minted outside Terraform, so that no secret is in its state. All of this runs under the pool's lock, and can
be run again: a key that no block holds was left by a crash, and is revoked before another one is made.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from poolform.core.blocks import Document
from poolform.core.errors import NotFound, PluginError, PoolformError
from poolform.core.pools.contract import ChecksCredentials, Disconnects, MintsCredentials
from poolform.core.pools.records import connection_of, credential_block_name, credential_of
from poolform.core.runs.jobs import with_defaults
from poolform.core.store import pools as store_pools
from poolform.core.store import runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.blocks import Blocks
    from poolform.core.plugins import Registered
    from poolform.core.pools.contract import Connection, Credential, Finding
    from poolform.core.pools.planning import Context
    from poolform.core.pools.proposal import Proposal
    from poolform.core.store.pools import WorkPool

# A new key is not known everywhere at once: IAM is eventually consistent.
_PATIENCE = 60.0


def connect(context: Context, proposal: Proposal, pool: WorkPool, outputs: Mapping[str, Any]) -> WorkPool:
    """Make a pool ready: work out its connection, see to its credential, and store both.

    Raises PluginError when the outputs do not fit the pool type, PoolformError when the credential does not work.
    """
    registered = proposal.registered
    assert registered is not None  # only a destroy can do without
    pool_type = registered.pool_type
    with registered.acting("connect"):
        connection = _connection(registered, proposal.variables, outputs)
    # Stored at once: if we die while minting, `disconnect` still knows where to look.
    with context.store.write() as tx:
        pool = store_pools.update(tx, pool.id, connection=asdict(connection))
    with registered.acting("the credential"):
        pool, credential = _credential(context, registered, proposal.variables, pool, connection)
        if isinstance(pool_type, ChecksCredentials):
            _wait_until_accepted(pool_type, connection, credential)
    with context.store.write() as tx:
        return store_pools.update(
            tx,
            pool.id,
            state="ready",
            error=None,
            image_namespace=connection.image_namespace,
            base_job_template=with_defaults(pool.base_job_template, connection.job_defaults),
        )


def disconnect(context: Context, proposal: Proposal, pool: WorkPool) -> WorkPool:
    """Undo what is outside Terraform: stop jobs, remove what launchers registered, revoke the key, delete its block.

    With the plugin gone, say what may be left.
    """
    with context.store.write() as tx:
        runs.cancel_scheduled(tx, pool_id=pool.id, reason=f"work pool {pool.name} is being deprovisioned")
        for run in runs.list_recent(tx, pool_id=pool.id, limit=10_000):
            if run.state in runs.ACTIVE:
                runs.cancel(tx, run.id)
    connection = connection_of(pool)
    if connection is not None:
        if proposal.registered is None:
            context.progress.on_notice(
                f"Warning: the plugin {f'{pool.plugin} {pool.plugin_version}'.strip()} is not installed, so jobs that "
                "still run and keys that it made are left to you."
            )
        else:
            with proposal.registered.acting("disconnect"):
                _clear(context.blocks, proposal.registered, pool, connection)
    if pool.credential_block:
        block_type, _, name = pool.credential_block.partition("/")
        context.blocks.delete(block_type, name)
        with context.store.write() as tx:
            pool = store_pools.update(tx, pool.id, credential_block=None)
    return pool


def check_credential(registered: Registered | None, pool: WorkPool, blocks: Blocks) -> Finding | None:
    """Try the pool's credential once; None where there is no way to. Raises PluginError when the plugin fails at it."""
    connection = connection_of(pool)
    if registered is None or connection is None or not isinstance(registered.pool_type, ChecksCredentials):
        return None
    credential = credential_of(pool, blocks)
    with registered.acting("authenticate"):
        return registered.pool_type.authenticate(connection, credential)


def _connection(registered: Registered, variables: Any, outputs: Mapping[str, Any]) -> Connection:
    pool_type = registered.pool_type
    try:
        model = pool_type.outputs.model_validate(dict(outputs))
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise PluginError(registered.plugin.label, f"the outputs do not fit {pool_type.slug}: {problems}.") from exc
    return pool_type.connect(variables, model)


def _clear(blocks: Blocks, registered: Registered, pool: WorkPool, connection: Connection) -> None:
    pool_type = registered.pool_type
    variables = pool_type.variables.model_validate(pool.variables)
    if isinstance(pool_type, Disconnects):
        try:
            credential = credential_of(pool, blocks)
        except NotFound:
            credential = None  # deleted by a run before this one, which died afterwards
        pool_type.disconnect(connection, credential)
    if isinstance(pool_type, MintsCredentials):
        for key_id in pool_type.issued(variables, connection):
            pool_type.revoke(variables, connection, key_id)


def _credential(
    context: Context,
    registered: Registered,
    variables: Any,
    pool: WorkPool,
    connection: Connection,
) -> tuple[WorkPool, Credential | None]:
    """See to it that exactly the key which the pool's block holds exists, or none."""
    pool_type = registered.pool_type
    if not isinstance(pool_type, MintsCredentials):
        return pool, None
    wanted = pool_type.wants_key(variables)
    try:
        held = credential_of(pool, context.blocks)
    except NotFound:
        held = None
    issued = list(pool_type.issued(variables, connection))
    for key_id in issued:
        if not wanted or held is None or key_id != held.key_id:
            pool_type.revoke(variables, connection, key_id)
    if not wanted:
        if pool.credential_block:
            block_type, _, name = pool.credential_block.partition("/")
            context.blocks.delete(block_type, name)
            pool = _note_block(context, pool, None)
        return pool, None
    if held is None or held.key_id not in issued:
        context.progress.on_step("Creating credentials")
        held = pool_type.mint(variables, connection)
        name = credential_block_name(pool)
        context.blocks.save(Document(held.block_type, name, dict(held.data), held.key_id))
        pool = _note_block(context, pool, f"{held.block_type}/{name}")
    return pool, held


def _note_block(context: Context, pool: WorkPool, block: str | None) -> WorkPool:
    with context.store.write() as tx:
        updated = store_pools.update(tx, pool.id, credential_block=block)
    return replace(updated)


def _wait_until_accepted(pool_type: ChecksCredentials, connection: Connection, credential: Credential | None) -> None:
    deadline, pause = time.monotonic() + _PATIENCE, 0.25
    while True:
        finding = pool_type.authenticate(connection, credential)
        if finding.verdict != "missing":
            return
        if time.monotonic() > deadline:
            raise PoolformError(f"The pool's credential does not work: {finding.message}.", hint=finding.hint)
        time.sleep(pause)
        pause = min(pause * 1.6, 5.0)
