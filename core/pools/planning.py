"""Planning: from a pool's record to a proposal. Everything up to here lives in a temporary workspace."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from poolform.core.errors import Interrupted, NotReady, PluginError, counted
from poolform.core.pools import credentials, moving, preflight
from poolform.core.pools.contract import FindsOrphans, Identity, Review
from poolform.core.pools.lock import require_unlocked
from poolform.core.pools.proposal import Proposal, Sentence
from poolform.core.pools.records import module_of, type_of
from poolform.core.pools.revisions import at_revision, stored_variables
from poolform.core.pools.workspaces import pool_workspace, temporary_workspace
from poolform.core.store import deployments as store_deployments
from poolform.core.store import pools as store_pools
from poolform.core.store import runs as store_runs
from poolform.core.terraform.engine import Listener, Setup, Terraform
from poolform.core.terraform.locate import locate
from poolform.core.terraform.plan import NOTHING
from poolform.core.terraform.providers import Backend
from poolform.core.terraform.render import Module, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Protocol

    from poolform.core.blocks import Blocks
    from poolform.core.plugins import Plugins
    from poolform.core.pools.catalogue import Registered
    from poolform.core.pools.contract import Orphan
    from poolform.core.pools.proposal import Purpose
    from poolform.core.settings import Settings
    from poolform.core.store.database import Store
    from poolform.core.store.pools import WorkPool
    from poolform.core.terraform.locate import Binary
    from poolform.core.terraform.plan import Plan
    from poolform.core.terraform.workspace import Workspace

    class Progress(Listener, Protocol):
        """Hears how a pool gets on: its steps, and what Terraform is doing."""

        def on_step(self, text: str) -> None:
            """Hear that a step begins, such as "Planning"."""


@dataclass(frozen=True)
class Context:
    """All that the way of a pool needs from outside."""

    settings: Settings
    store: Store[Any]
    plugins: Plugins
    blocks: Blocks
    environ: Mapping[str, str]
    progress: Progress

    def setup(self, binary: Binary, backend: Backend, *inherit: int) -> Setup:
        """Return what Terraform is driven with for a pool."""
        return Setup(binary, self.settings, self.environ, self.progress, backend, inherit)


@contextmanager
def propose(context: Context, pool: WorkPool, *, purpose: Purpose = "provision") -> Iterator[Proposal]:
    """Yield what provisioning `pool` as this record says would do; nothing is changed, nothing is left behind.

    Raises NotFound for a pool type that is not installed, NotReady for one of another revision, PluginError from
    rendering, PreflightFailed, TerraformError.
    """
    registered = type_of(context.plugins, pool)
    with temporary_workspace(context.settings, pool.id) as workspace:
        with _changing_nothing():
            proposal = _proposed(context, pool, registered, workspace, purpose)
        yield proposal


def _proposed(
    context: Context, pool: WorkPool, registered: Registered, workspace: Workspace, purpose: Purpose
) -> Proposal:
    require_unlocked(context.settings, pool.id, pool.name)
    pool_type = registered.pool_type
    recorded_at = pool.updated_at if pool.created_at else None
    stored, pool = pool, at_revision(pool, registered, purpose)
    variables = stored_variables(registered, stored)
    backend = Backend(**pool.backend) if pool.backend else Backend()
    with registered.acting("rendering"):
        module = render(pool_type, variables, pool_name=pool.name, pool_id=pool.id, backend=backend.kind)
    binary = None
    if pool_type.templates is not None:
        binary = locate(context.settings)
        require_state(context, pool, binary)

    context.progress.on_step("Checking permissions")
    with registered.acting("identity"):
        identity = pool_type.identity(variables)
    before = Identity(**pool.identity) if pool.identity else None
    preflight.require_same_account(pool.name, before, identity)
    with registered.acting("preflight"):
        findings = preflight.require_permissions(pool_type.preflight(variables, module.resource_types))

    leaving = moving.to_leave(context, pool, registered, variables)
    plan = NOTHING
    if binary is not None:
        plan = _plan(context, pool, binary, module, workspace, registered=registered, variables=variables)
    return Proposal(
        purpose=purpose,
        pool=replace(pool, plugin=registered.plugin.name, plugin_version=registered.plugin.version),
        recorded_at=recorded_at,
        module=module,
        workspace=workspace,
        plan=plan,
        binary=binary,
        registered=registered,
        variables=variables,
        upgraded_from=None if stored.revision == pool.revision else stored.revision,
        identity=identity,
        findings=findings,
        reviews=review(context, pool, plan),
        credential=credentials.to_come(context, pool, registered, variables),
        effects=leaving,
        nouns=pool_type.nouns,
    )


@contextmanager
def propose_destroy(context: Context, pool: WorkPool) -> Iterator[Proposal]:
    """Yield what deprovisioning would do, with the module as last applied; works with the plugin gone."""
    with temporary_workspace(context.settings, pool.id) as workspace:
        with _changing_nothing():
            proposal = _proposed_destroy(context, pool, workspace)
        yield proposal


def _proposed_destroy(context: Context, pool: WorkPool, workspace: Workspace) -> Proposal:
    require_unlocked(context.settings, pool.id, pool.name)
    registered = context.plugins.pool_types.get(pool.type)
    module = module_of(context.store, pool)
    require_account(context, pool, registered)
    binary, plan = None, NOTHING
    if module is not None and module.addresses:
        binary = locate(context.settings)
        require_state(context, pool, binary)
        terraform = in_workspace(context, pool, binary, module, workspace)
        context.progress.on_step("Planning")
        plan = terraform.plan(destroy=True)
    return Proposal(
        purpose="deprovision",
        pool=pool,
        recorded_at=pool.updated_at,
        module=module or Module({}, {}),
        workspace=workspace,
        plan=plan,
        binary=binary,
        registered=registered,
        reviews=review(context, pool, plan),
        credential=credentials.to_go(pool),
        effects=_effects(context, pool),
        nouns=registered.pool_type.nouns if registered else {},
    )


def _effects(context: Context, pool: WorkPool) -> tuple[Sentence, ...]:
    """Say what becomes of runs and deployments once the pool's infrastructure is gone."""
    with context.store.read() as tx:
        active, waiting = store_runs.unfinished(tx, pool.id)
        users = [deployment.full_name for deployment in store_deployments.list_all(tx, pool_id=pool.id)]
    found = []
    if active:
        found.append(Sentence("destroy", f"Stop {counted(active, 'run')} in progress"))
    if waiting:
        found.append(Sentence("destroy", f"Cancel {counted(waiting, 'run')} that wait{'s' * (waiting == 1)}"))
    if users:
        named = ", ".join(users[:3]) + (f" and {len(users) - 3} more" if len(users) > 3 else "")
        uses = "deployment that uses" if len(users) == 1 else "deployments that use"
        found.append(Sentence("update", f"Leave {len(users)} {uses} the pool without a place to run: {named}"))
    return tuple(found)


@contextmanager
def _changing_nothing() -> Iterator[None]:
    """Say of an interrupt what state it left."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as exc:
        raise Interrupted("Interrupted: nothing was changed.") from exc


def in_workspace(
    context: Context, pool: WorkPool, binary: Binary, module: Module, workspace: Workspace, *inherit: int
) -> Terraform:
    """Return Terraform over a temporary workspace that holds `module` and the pool's local state, ready to plan."""
    backend = Backend(**pool.backend) if pool.backend else Backend()
    workspace.write(module.files)
    if backend.is_local:
        workspace.copy_state_from(pool_workspace(context.settings, pool.id))
    terraform = Terraform(context.setup(binary, backend, *inherit), workspace, module)
    with context.store.read() as tx:
        applied = store_pools.get_module(tx, pool.id)
    if module.providers:
        context.progress.on_step("Preparing providers")
    terraform.prepare(seed=applied.lock_file if applied else None)
    return terraform


def require_state(context: Context, pool: WorkPool, binary: Binary) -> None:
    """Refuse to work without the pool's state. Raises WrongEngine, or NotReady where it is on another machine."""
    binary.require_writer(pool.engine_product, pool.engine_version)
    is_local = not pool.backend or pool.backend["kind"] == "local"
    if is_local and pool.engine_version and not pool_workspace(context.settings, pool.id).path.is_dir():
        raise NotReady(
            f"The Terraform state of the pool {pool.name} is not on this machine: it is kept in the home of whoever "
            "provisioned it.",
            hint="Run this there; a pool made with a remote --backend can be managed from anywhere.",
        )


def require_account(context: Context, pool: WorkPool, registered: Registered | None) -> None:
    """Refuse to touch a pool with another account's credentials. Raises PreflightFailed.

    Where the plugin is not there, or can't make anything of what the pool has stored, this is not known: Terraform
    knows by itself what it has made, and the pool must be destructible.
    """
    if registered is None or not pool.identity:
        return
    try:
        variables = stored_variables(registered, pool)
    except PluginError as exc:
        context.progress.on_notice(f"Warning: {exc.message} So it was not checked whether this is the pool's account.")
        return
    with registered.acting("identity"):
        identity = registered.pool_type.identity(variables)
    preflight.require_same_account(pool.name, Identity(**pool.identity), identity)


def review(context: Context, pool: WorkPool, plan: Plan) -> tuple[Review, ...]:
    """Return what plugins say of a plan. Raises PluginError when one fails at it."""
    reviews: list[Review] = []
    for plugin, found in context.plugins.call("poolform_review_plan", pool=pool, plan=plan):
        for item in found if isinstance(found, Iterable) else (found,):
            if not isinstance(item, Review):
                raise PluginError(plugin.label, f"poolform_review_plan returned {item!r}, which is not a Review.")
            reviews.append(replace(item, plugin=plugin.label))
    return tuple(reviews)


def _plan(
    context: Context,
    pool: WorkPool,
    binary: Binary,
    module: Module,
    workspace: Workspace,
    *,
    registered: Registered,
    variables: Any,
) -> Plan:
    terraform = in_workspace(context, pool, binary, module, workspace)
    pool_type = registered.pool_type
    orphans: Sequence[Orphan] = ()
    if pool.state == "provisioning" and isinstance(pool_type, FindsOrphans):
        # An interrupted apply may have made objects that its state never heard of.
        known = terraform.resources() if workspace.has_local_state or pool.backend else ()
        with registered.acting("orphans"):
            orphans = [found for found in pool_type.orphans(variables, pool.id, known) if found.address not in known]
    context.progress.on_step("Planning")
    return terraform.plan(adopt=orphans)
