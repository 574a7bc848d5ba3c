"""Applying: carry out exactly what a proposal says, under the pool's lock, so that dying anywhere can be mended.

The order matters. The record and the workspace are promoted just before the apply; the outputs become the connection
just after; credentials come last on the way up and first on the way down.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from poolform.core.errors import Interrupted, PoolformError, StalePlan, StoreError
from poolform.core.pools import connecting, moving
from poolform.core.pools.lock import pool_lock, whoami
from poolform.core.pools.workspaces import pool_workspace
from poolform.core.store import history, runs
from poolform.core.store import pools as store_pools
from poolform.core.terraform.engine import Terraform
from poolform.core.terraform.providers import Backend
from poolform.core.terraform.workspace import LOCK_FILE, PLAN_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolform.core.pools.planning import Context
    from poolform.core.pools.proposal import Proposal
    from poolform.core.store.database import Transaction
    from poolform.core.store.pools import WorkPool
    from poolform.core.terraform.workspace import Workspace

_STAMPS = ("created_at", "updated_at")
_DOING = {"provision": "provision-infra", "upgrade": "upgrade", "deprovision": "deprovision"}


def carry_out(context: Context, proposal: Proposal) -> WorkPool:
    """Apply a proposal and return the pool's record as it is then.

    Raises Busy when somebody else is changing the pool, AlreadyExists when its name was taken meanwhile, StalePlan
    when the pool was changed after the plan was made, TerraformError when resources failed, Interrupted. Whatever is
    raised, running the same command again goes on from there. Raises Vetoed for what a plugin objects to.
    """
    proposal.require_passed()
    pool = proposal.pool
    destroys = proposal.purpose == "deprovision"
    with pool_lock(context.settings, context.store, pool.id, pool.name, _DOING[proposal.purpose]) as lock:
        pool, entry_id = _promote_record(context, proposal)
        with _recorded(context, pool, proposal, entry_id):
            workspace = _promote_workspace(context, proposal)
            terraform = None
            if proposal.binary is not None:
                setup = context.setup(proposal.binary, Backend(**pool.backend) if pool.backend else Backend(), lock)
                terraform = Terraform(setup, workspace, proposal.module)
            work = _take_down if destroys else _bring_up
            pool = work(context, proposal, pool, terraform, workspace)
    _tell(context, proposal, pool)
    return pool


def _tell(context: Context, proposal: Proposal, pool: WorkPool) -> None:
    """Let plugins hear of it. It is done: they can neither undo nor fail it."""
    hook = "poolform_after_destroy" if proposal.purpose == "deprovision" else "poolform_after_apply"
    try:
        for problem in context.plugins.tell(hook, pool=pool):
            context.progress.on_notice(f"Warning: {problem.message}")
    except KeyboardInterrupt as exc:
        done = f"the pool {pool.name} is {pool.state_in_words}"
        raise Interrupted(f"Interrupted after the work was done: {done}.") from exc


def _bring_up(
    context: Context,
    proposal: Proposal,
    pool: WorkPool,
    terraform: Terraform | None,
    workspace: Workspace,
) -> WorkPool:
    outputs: Mapping[str, Any] = {}
    if terraform is not None and proposal.module.addresses:
        context.progress.on_step("Applying")
        outputs = terraform.outputs() if proposal.plan.is_empty else terraform.apply()
        workspace.drop_plan()
    context.progress.on_step("Connecting")
    return connecting.connect(context, proposal, pool, outputs)


def _take_down(
    context: Context,
    proposal: Proposal,
    pool: WorkPool,
    terraform: Terraform | None,
    workspace: Workspace,
) -> WorkPool:
    context.progress.on_step("Disconnecting")
    pool = connecting.disconnect(context, proposal, pool)
    if terraform is not None and not proposal.plan.is_empty:
        context.progress.on_step("Destroying")
        terraform.apply()
    workspace.remove()
    with context.store.write() as tx:
        runs.abandon(tx, pool_id=pool.id, reason=f"work pool {pool.name} was deprovisioned")
        store_pools.delete_module(tx, pool.id)
        return store_pools.update(
            tx,
            pool.id,
            state="not-provisioned",
            error=None,
            connection=None,
            identity=None,
            image_namespace=None,
            engine_product=None,
            engine_version=None,
        )


def _promote_record(context: Context, proposal: Proposal) -> tuple[WorkPool, str]:
    """Store the record as it is about to be; refuse when it is not the one that the plan was made for any more.

    Return it, and the id of its entry in the history: of what is killed from here on, that it began is remembered.
    """
    drafted = proposal.pool
    values: dict[str, Any] = {
        "state": "deprovisioning" if proposal.purpose == "deprovision" else "provisioning",
        "error": None,
        "engine_product": proposal.binary.product if proposal.binary else None,
        "engine_version": proposal.binary.version if proposal.binary else None,
        "identity": asdict(proposal.identity) if proposal.identity else drafted.identity,
    }
    # Before the record: where the folder is says whose machine has the state.
    with _kept_if_it_holds(pool_workspace(context.settings, drafted.id)), context.store.write() as tx:
        if proposal.recorded_at is None:
            kept = {f.name: getattr(drafted, f.name) for f in fields(drafted) if f.name not in _STAMPS}
            pool = store_pools.create(tx, **{**kept, **values})
        else:
            current = store_pools.by_id(tx, drafted.id)
            if current is None or current.updated_at != proposal.recorded_at:
                raise StalePlan(
                    f"The pool {drafted.name} was changed by somebody after this plan was made.",
                    hint="Run this again to see a new plan; nothing was changed.",
                )
            if proposal.is_move:
                moving.require_idle(tx, current)
            names = ("variables", "revision", "contract", "plugin", "plugin_version", "base_job_template", "backend")
            values |= {name: getattr(drafted, name) for name in names}
            pool = store_pools.update(tx, drafted.id, **values)
        if proposal.purpose != "deprovision":
            lock_file = proposal.workspace.read(LOCK_FILE)
            digest = proposal.module.digest
            store_pools.save_module(tx, pool.id, proposal.module.files, lock_file=lock_file, digest=digest)
        entry_id = _begin(tx, pool, proposal)
    return pool, entry_id


@contextmanager
def _kept_if_it_holds(workspace: Workspace) -> Iterator[None]:
    """Make a workspace's folder, and take a new one away again when the record is refused."""
    is_new = not workspace.path.exists()
    if is_new:
        workspace.write({})
    try:
        yield
    except BaseException:
        if is_new:
            workspace.remove()
        raise


def _promote_workspace(context: Context, proposal: Proposal) -> Workspace:
    """Move the module and its saved plan to where the state is."""
    workspace = pool_workspace(context.settings, proposal.pool.id)
    workspace.write(proposal.module.files)
    for name in (PLAN_FILE, LOCK_FILE):
        source = proposal.workspace.path / name
        if source.exists():
            shutil.move(source, workspace.path / name)
    return workspace


@contextmanager
def _recorded(context: Context, pool: WorkPool, proposal: Proposal, entry_id: str) -> Iterator[None]:
    """Write into the pool's record and its history how this ended, also when it did not end well."""
    try:
        yield
    except BaseException as exc:
        pool_workspace(context.settings, pool.id).drop_plan()
        error = exc.message if isinstance(exc, PoolformError) else f"{type(exc).__name__}: {exc}"
        if isinstance(exc, KeyboardInterrupt | Interrupted):
            error = f"{_DOING[proposal.purpose]} was interrupted."
        # The store may be what failed, and then that is what is told.
        with suppress(StoreError), context.store.write() as tx:
            store_pools.update(tx, pool.id, error=error)
            history.end(tx, entry_id, outcome="failed", error=error)
        if isinstance(exc, KeyboardInterrupt | Interrupted):
            raise Interrupted(
                f"Interrupted: the pool {pool.name} is {_half(proposal)}.", hint=_go_on(pool, proposal)
            ) from exc
        if isinstance(exc, PoolformError):
            exc.hint = f"{exc.hint} Then go on: " if exc.hint else "Put that right, then go on: "
            exc.hint += _command(pool, proposal)
        raise
    with context.store.write() as tx:
        history.end(tx, entry_id, outcome="done")


def _begin(tx: Transaction, pool: WorkPool, proposal: Proposal) -> str:
    """Remember that this began, and of what was killed earlier that it was; return the entry's id."""
    history.end_killed(tx, pool.id)
    entry = history.add(
        tx,
        pool_id=pool.id,
        pool_name=pool.name,
        who=f"{whoami()}{f' as {proposal.identity.principal}' if proposal.identity else ''}",
        action=_DOING[proposal.purpose],
        outcome=history.BEGUN,
        summary={
            "plan": proposal.plan.summary() + (f", {proposal.revisions}" if proposal.revisions else ""),
            "changes": [sentence.text for sentence in proposal.sentences],
            "plugin": proposal.registered.plugin.label if proposal.registered else None,
            "engine": proposal.binary.title if proposal.binary else None,
        },
        plan_digest=proposal.plan.digest or None,
    )
    return entry.id


def _half(proposal: Proposal) -> str:
    return "partly destroyed" if proposal.purpose == "deprovision" else "partly provisioned"


def _command(pool: WorkPool, proposal: Proposal) -> str:
    return f"poolform work-pool {_DOING[proposal.purpose]} {pool.name}"


def _go_on(pool: WorkPool, proposal: Proposal) -> str:
    undo = "" if proposal.purpose == "deprovision" else f", or undo it: poolform work-pool deprovision {pool.name}"
    return f"Nothing is lost. Go on: {_command(pool, proposal)}{undo}"
