"""Connecting: Terraform's outputs become the pool's connection, and credentials are made last.

All of this runs under the pool's lock, and can be run again.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from poolform.core.errors import NotFound, PluginError
from poolform.core.pools import credentials, moving
from poolform.core.pools.contract import ChecksCredentials, Disconnects, MintsCredentials
from poolform.core.pools.records import connection_of, credential_of
from poolform.core.pools.revisions import stored_variables
from poolform.core.runs.jobs import with_defaults
from poolform.core.store import pools as store_pools
from poolform.core.store import runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.pools.catalogue import Registered
    from poolform.core.pools.contract import Connection
    from poolform.core.pools.planning import Context
    from poolform.core.pools.proposal import Proposal
    from poolform.core.store.pools import WorkPool


def connect(context: Context, proposal: Proposal, pool: WorkPool, outputs: Mapping[str, Any]) -> WorkPool:
    """Make a pool ready: work out its connection, see to its credential, and store both.

    Raises PluginError when the outputs do not fit the pool type, PoolformError when the credential does not work.
    """
    registered = proposal.registered
    assert registered is not None  # only a destroy can do without
    pool_type = registered.pool_type
    with registered.acting("connect"):
        connection = _connection(registered, proposal.variables, outputs)
    moving.leave(context, pool, registered, proposal.variables)  # before its record forgets where that is
    # Stored at once: if we die while minting, `disconnect` still knows where to look.
    with context.store.write() as tx:
        pool = store_pools.update(tx, pool.id, connection=asdict(connection))
    with registered.acting("the credential"):
        pool, credential = credentials.settle(context, registered, proposal.variables, pool, connection)
        if isinstance(pool_type, ChecksCredentials):
            credentials.wait_until_accepted(pool_type, connection, credential)
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
        runs.cancel_active(tx, pool_id=pool.id)
    connection = connection_of(pool)
    if connection is not None:
        if proposal.registered is None:
            context.progress.on_notice(
                f"Warning: the plugin {f'{pool.plugin} {pool.plugin_version}'.strip()} is not installed, so jobs that "
                "still run and keys that it made are left to you."
            )
        else:
            with proposal.registered.acting("disconnect"):
                _clear(context, proposal.registered, pool, connection)
    return credentials.forget(context, pool)


def _connection(registered: Registered, variables: Any, outputs: Mapping[str, Any]) -> Connection:
    pool_type = registered.pool_type
    try:
        model = pool_type.outputs.model_validate(dict(outputs))
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise PluginError(registered.plugin.label, f"the outputs do not fit {pool_type.slug}: {problems}.") from exc
    return pool_type.connect(variables, model)


def _clear(context: Context, registered: Registered, pool: WorkPool, connection: Connection) -> None:
    pool_type = registered.pool_type
    if isinstance(pool_type, Disconnects):
        try:
            credential = credential_of(pool, context.blocks)
        except NotFound:
            credential = None  # deleted by a run before this one, which died afterwards
        pool_type.disconnect(connection, credential)
    if isinstance(pool_type, MintsCredentials):
        try:
            variables = stored_variables(registered, pool)
        except PluginError as exc:
            context.progress.on_notice(f"Warning: {exc.message} So keys that it made are left to you.")
            return
        for key_id in pool_type.issued(variables, connection):
            pool_type.revoke(variables, connection, key_id)
