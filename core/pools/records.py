"""Pools' records: how a new one begins, and what an old one remembers."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from poolform.core.errors import NotFound, UsageError
from poolform.core.pools.contract import Connection, Credential
from poolform.core.runs.jobs import base_job_template
from poolform.core.store import pools as store_pools
from poolform.core.store.names import new_pool_id
from poolform.core.store.pools import WorkPool
from poolform.core.terraform.render import Module

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.blocks import Blocks
    from poolform.core.plugins import Plugins
    from poolform.core.pools.catalogue import Registered
    from poolform.core.pools.contract import Variables
    from poolform.core.store.database import Store
    from poolform.core.terraform.providers import Backend

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check_name(name: str) -> None:
    """Refuse a pool name that could not end up in the names of cloud resources. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a work pool.",
            hint="Use up to 63 lower-case letters, digits and dashes, with a letter or digit at both ends.",
        )


def check_rename(pool: WorkPool, name: str) -> None:
    """Refuse a new name that a pool cannot have. Raises UsageError."""
    check_name(name)
    if pool.is_served:
        raise UsageError(f"The work pool {pool.name} keeps its name: scripts that serve flows find it by that.")


def type_of(plugins: Plugins, pool: WorkPool) -> Registered:
    """Return the type of a pool. Raises NotFound, naming the plugin that brought it where that is gone.

    Raises UsageError for the pool of served deployments, which has none.
    """
    if pool.type in plugins.pool_types or plugins.problems:  # a plugin that is broken is named there
        return plugins.pool_type(pool.type)
    if pool.is_served:
        raise UsageError(
            f"The work pool {pool.name} has no infrastructure: its runs are processes of the scripts that serve them.",
            hint="Start such a script, or make a pool: poolform work-pool create NAME --type TYPE --provision-infra",
        )
    plugin = f"{pool.plugin} {pool.plugin_version}".strip()
    raise NotFound(
        f"The pool type {pool.type} of the work pool {pool.name} is not here: the plugin {plugin} brought it.",
        hint="Install that plugin again; only drift and deprovision work without it.",
    )


def new_record(
    name: str,
    registered: Registered,
    variables: Variables,
    *,
    backend: Backend | None = None,
    template: Mapping[str, Any] | None = None,
    concurrency_limit: int | None = None,
    paused: bool = False,
) -> WorkPool:
    """Return the record of a pool that is not stored yet; its `created_at` is 0. Raises UsageError for its name."""
    check_name(name)
    pool_type = registered.pool_type
    return WorkPool(
        id=new_pool_id(),
        name=name,
        type=pool_type.slug,
        plugin=registered.plugin.name,
        plugin_version=registered.plugin.version,
        contract=pool_type.contract,
        revision=pool_type.revision,
        state="not-provisioned",
        error=None,
        paused=paused,
        concurrency_limit=concurrency_limit,
        variables=variables.model_dump(mode="json"),
        base_job_template=dict(template or base_job_template(pool_type)),
        connection=None,
        identity=None,
        backend=None if backend is None or backend.is_local else asdict(backend),
        engine_product=None,
        engine_version=None,
        credential_block=None,
        image_namespace=None,
        created_at=0.0,
        updated_at=0.0,
    )


def same_wish(known: WorkPool, wanted: WorkPool) -> bool:
    """Say whether a record asks for the pool that is known: of its type, with its variables, backend and settings."""
    asked = ("name", "type", "variables", "backend", "base_job_template", "concurrency_limit", "paused")
    return all(getattr(known, what) == getattr(wanted, what) for what in asked)


def store_new(store: Store[Any], pool: WorkPool) -> WorkPool:
    """Store a new pool that is not provisioned. Raises AlreadyExists."""
    values = asdict(pool)
    del values["created_at"], values["updated_at"]
    with store.write() as tx:
        return store_pools.create(tx, **values)


def module_of(store: Store[Any], pool: WorkPool) -> Module | None:
    """Return a pool's module as last applied, None where none ever was."""
    with store.read() as tx:
        stored = store_pools.get_module(tx, pool.id)
    return Module.from_files(stored.files) if stored else None


def connection_of(pool: WorkPool) -> Connection | None:
    """Return what applying the pool yielded, None where it was not."""
    return Connection(**pool.connection) if pool.connection is not None else None


def credential_of(pool: WorkPool, blocks: Blocks) -> Credential | None:
    """Return the credential that the pool's launcher authenticates with, None where it is keyless."""
    if not pool.credential_block:
        return None
    block_type, _, name = pool.credential_block.partition("/")
    document = blocks.load(block_type, name)
    return Credential(block_type, document.data, document.key_id)


def credential_block_name(pool: WorkPool) -> str:
    """Return the name of the block that holds a pool's credentials."""
    return f"{pool.name}-credentials"
