"""Revisions: a pool's record is of the revision that it was made with, its pool type of the one that is installed."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from poolform.core.errors import NotReady, PluginError
from poolform.core.pools import variables as given_variables
from poolform.core.pools.contract import Migrates

if TYPE_CHECKING:
    from poolform.core.pools.catalogue import Registered
    from poolform.core.pools.contract import Variables
    from poolform.core.pools.proposal import Purpose
    from poolform.core.runs.launchers import Json
    from poolform.core.store.pools import WorkPool


def at_revision(pool: WorkPool, registered: Registered, purpose: Purpose) -> WorkPool:
    """Return the record at the installed revision of its pool type.

    Raises NotReady where that is another one and nobody has asked for an upgrade, PluginError when it fails.
    """
    installed = registered.pool_type.revision
    if pool.revision == installed:
        return pool
    if pool.revision > installed or purpose != "upgrade":
        raise NotReady(
            f"The pool {pool.name} was made with revision {pool.revision} of {pool.type}, and "
            f"{registered.plugin.label} has revision {installed}.",
            hint="Upgrade that plugin here."
            if pool.revision > installed
            else f"See what would change, and change it: poolform work-pool upgrade {pool.name}",
        )
    return replace(pool, revision=installed, variables=migrated(registered, pool))


def migrated(registered: Registered, pool: WorkPool) -> dict[str, Json]:
    """Return what a pool has stored as its variables, in today's shape. Raises PluginError when `migrate` fails."""
    pool_type, stored = registered.pool_type, copy.deepcopy(dict(pool.variables))
    if pool.revision >= pool_type.revision or not isinstance(pool_type, Migrates):
        return stored
    with registered.acting(f"migrating {pool.name} from revision {pool.revision}"):
        made: Any = pool_type.migrate(pool.revision, stored)
    if not isinstance(made, dict):
        text = f"migrate of the pool type {pool.type} returned {made!r}, which is not a dictionary of variables."
        raise PluginError(registered.plugin.label, text)
    return made


def stored_variables(registered: Registered, pool: WorkPool) -> Variables:
    """Return what a pool has stored as its variables, as their model of today.

    Raises PluginError where they do not fit it: whoever changed the model has to bring them along.
    """
    model, values = registered.pool_type.variables, migrated(registered, pool)
    with registered.acting("checking the variables"):  # validators are the author's, and may fail in any way
        try:
            return model.model_validate(values)
        except ValidationError as exc:
            problems = " ".join(given_variables.problems(exc, model))
    raise _misfit(registered, pool, problems)


def _misfit(registered: Registered, pool: WorkPool, problems: str) -> PluginError:
    installed = registered.pool_type.revision
    made_by = f"use the version that made the pool: {pool.plugin} {pool.plugin_version}".rstrip()
    if pool.revision > installed:
        what, hint = f"revision {installed}, which is older", "Upgrade that plugin here."
    elif pool.revision == installed:
        what = "it any more"
        hint = f"Its author is to raise `revision`, and to write `migrate`; until then, {made_by}."
    else:
        what = f"revision {installed}"
        hint = f"Its author is to write `migrate`, so that they do; until then, {made_by}."
    text = f"the variables that the pool {pool.name} stored at revision {pool.revision} do not fit {what}: {problems}"
    return PluginError(registered.plugin.label, text, hint=hint)
