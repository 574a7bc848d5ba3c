"""The verbs of `poolform work-pool` that plan, make and destroy infrastructure."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli.completion import pool_types
from poolform.cli.session import Session
from poolform.cli.view import Format, Output, say, show_json
from poolform.cli.work_pool_options import (
    BackendConfig,
    JobTemplate,
    Limit,
    Name,
    Set,
    Vars,
    Yes,
    as_json,
    chosen_type,
    gathered,
    named_pool,
    pairs,
    with_variables,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from poolform.cli.progress import LiveProgress, PlainProgress
    from poolform.core.errors import AlreadyExists
    from poolform.core.pools.planning import Context
    from poolform.core.pools.proposal import Proposal
    from poolform.core.store.pools import WorkPool

app = typer.Typer(help="Work pools: create, provision, look at, destroy.", no_args_is_help=True, add_completion=False)

CHANGES_PENDING = 4


@app.command("create")
def create(
    ctx: typer.Context,
    name: Name,
    *,
    type_: Annotated[
        str | None, typer.Option("--type", "-t", help="Pool type; see `work-pool types`.", autocompletion=pool_types)
    ] = None,
    provision_: Annotated[bool, typer.Option("--provision-infra", help="Provision infrastructure for it now.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show what provisioning would do, and make nothing.")] = False,
    set_: Set = None,
    vars_: Vars = None,
    yes: Yes = False,
    backend: Annotated[str, typer.Option("--backend", help="Where Terraform keeps the pool's state.")] = "local",
    backend_config: BackendConfig = None,
    base_job_template: JobTemplate = None,
    concurrency_limit: Limit = None,
    paused: Annotated[bool, typer.Option("--paused", help="Launch no runs in it until it is resumed.")] = False,
    output: Output = Format.text,
) -> None:
    """Create a work pool, with its infrastructure if --provision-infra is given."""
    from poolform.core.pools import records
    from poolform.core.runs.jobs import load_template
    from poolform.core.store import pools
    from poolform.core.terraform.providers import Backend

    session = Session.of(ctx)
    records.check_name(name)
    registered = session.plugins.pool_type(chosen_type(session, type_))
    template = load_template(base_job_template) if base_job_template else None
    state = Backend(backend, pairs(backend_config, "--backend-config"))
    with session.store.read() as tx:
        existing = pools.find(tx, name)
    if existing is not None and not (provision_ and existing.state == "provisioning"):
        raise _taken(existing)
    variables = gathered(registered, {}, set_, vars_)
    pool = records.new_record(
        name,
        registered,
        variables,
        backend=state,
        template=template,
        concurrency_limit=concurrency_limit,
        paused=paused,
    )
    if existing is not None:
        if not records.same_wish(existing, pool):
            raise _taken(existing)
        say(f"The work pool {name} is partly provisioned already, by the same command: going on with it.")
        pool = existing
    if plan:
        _show_plan(session, lambda context: _proposed(context, pool), output)
    has_resources = registered.pool_type.templates is not None
    if provision_ or not has_resources:
        provision(session, lambda context: _proposed(context, pool), yes=yes or not has_resources)
    else:
        records.store_new(session.store, pool)
        say(f"Created the work pool {name}. It is not provisioned yet: poolform work-pool provision-infra {name}")
    if output is Format.json:
        show_json(as_json(named_pool(session, name), whole=True))


def _taken(existing: WorkPool) -> AlreadyExists:
    """Return the error for a name that another pool has, or the same one with other variables."""
    from poolform.core.errors import AlreadyExists

    name = existing.name
    go_on = f"Go on with its infrastructure: poolform work-pool provision-infra {name}"
    look = f"Take another name, or look at it: poolform work-pool inspect {name}"
    return AlreadyExists(
        f"A work pool named {name} exists already ({existing.type}, {existing.state_in_words}).",
        hint=go_on if existing.state == "provisioning" else look,
    )


@app.command("provision-infra")
def provision_infra(
    ctx: typer.Context,
    name: Name,
    *,
    set_: Set = None,
    vars_: Vars = None,
    plan: Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Apply this reviewed plan.")] = None,
    yes: Yes = False,
) -> None:
    """Provision a pool's infrastructure, or bring it to what its variables say; goes on where a run was cut off."""
    from poolform.core.errors import UsageError

    session = Session.of(ctx)
    pool = named_pool(session, name)
    if plan is not None:
        if set_ or vars_:
            raise UsageError("--plan applies a plan as it is.", hint="Give variables when the plan is made.")
        provision(session, lambda context: _from_bundle(context, plan, pool), yes=yes)
        return
    changed = with_variables(session, pool, set_, vars_)
    provision(session, lambda context: _proposed(context, changed), yes=yes)


@app.command("plan")
def plan(
    ctx: typer.Context,
    name: Name,
    *,
    set_: Set = None,
    vars_: Vars = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Save the plan, to be applied later.")
    ] = None,
    output: Output = Format.text,
) -> None:
    """Show what provision-infra would do. Exit code 4 says that there are changes."""
    session = Session.of(ctx)
    pool = with_variables(session, named_pool(session, name), set_, vars_)
    _show_plan(session, lambda context: _proposed(context, pool), output, out=out)


@app.command("upgrade")
def upgrade(
    ctx: typer.Context,
    name: Name,
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would change.")] = False,
    yes: Yes = False,
    output: Output = Format.text,
) -> None:
    """Bring a pool to the installed revision of its pool type."""
    session = Session.of(ctx)
    pool = named_pool(session, name)
    if plan:
        _show_plan(session, lambda context: _proposed(context, pool, purpose="upgrade"), output)
    provision(session, lambda context: _proposed(context, pool, purpose="upgrade"), yes=yes)
    if output is Format.json:
        show_json(as_json(named_pool(session, name), whole=True))


@app.command("deprovision")
def deprovision(ctx: typer.Context, name: Name, *, yes: Yes = False) -> None:
    """Destroy a pool's infrastructure and everything that was made for it; the pool itself stays."""
    from poolform.cli.proposal import confirm, show_proposal
    from poolform.core.pools.applying import carry_out
    from poolform.core.pools.planning import propose_destroy
    from poolform.core.pools.workspaces import clear_abandoned

    session = Session.of(ctx)
    pool = named_pool(session, name)
    if pool.state == "not-provisioned":
        clear_abandoned(session.settings)
        say(f"The work pool {name} has no infrastructure.")
        return
    with _steps(session) as (context, display), propose_destroy(context, pool) as proposal:
        with display.paused():
            show_proposal(proposal)
            proposal.require_passed()
            bare = not proposal.module.addresses
            confirm(f"Disconnect {name}?" if bare else f"Destroy the infrastructure of {name}?", yes=yes)
        display.expect(_sentences(proposal))
        carry_out(context, proposal)
    done = f"The work pool {name} is disconnected." if bare else f"Infrastructure of {name} successfully destroyed."
    say(f"{done} Delete the pool: poolform work-pool delete {name}", "green")


# -- what the verbs share ----------------------------------------------------------------------------------------


def _show_plan(session: Session, source: Callable[[Context], Any], output: Format, *, out: Path | None = None) -> None:
    """Show a proposal and end: with 0 where there is nothing to do, else with 4."""
    from poolform.cli.proposal import as_json as proposal_json
    from poolform.cli.proposal import show_proposal
    from poolform.core.pools.bundle import write_bundle

    with _steps(session) as (context, display), source(context) as proposal, display.paused():
        if output is Format.json:
            show_json(proposal_json(proposal))
        else:
            show_proposal(proposal)
        proposal.require_passed()
        if out is not None:
            write_bundle(out, proposal)
            name = proposal.pool.name
            say(f"Saved the plan to {out}. Apply it: poolform work-pool provision-infra {name} --plan {out}")
        raise typer.Exit(0 if proposal.is_empty else CHANGES_PENDING)


def provision(session: Session, source: Callable[[Context], Any], *, yes: bool) -> WorkPool:
    """Show a proposal, ask, carry it out; return the pool as it is then."""
    from poolform.cli.proposal import confirm, show_proposal
    from poolform.core.pools.applying import carry_out

    with _steps(session) as (context, display), source(context) as proposal:
        with display.paused():
            show_proposal(proposal)
            proposal.require_passed()
            if proposal.is_empty and proposal.pool.state == "ready" and not _differs(session, proposal):
                return proposal.pool  # type: ignore[no-any-return]
            if not proposal.is_empty:
                confirm("Proceed with provisioning?", yes=yes)
        display.expect(_sentences(proposal))
        pool = carry_out(context, proposal)
        made = "Infrastructure successfully provisioned: the" if proposal.module.addresses else "The"
        upgraded = f", upgraded {proposal.revisions} of {pool.type}" if proposal.revisions else ""
    say(f"{made} work pool {pool.name} is ready{upgraded}.", "green")
    return pool


def _differs(session: Session, proposal: Proposal) -> bool:
    """Say whether the record would change although the infrastructure does not."""
    stored = named_pool(session, proposal.pool.name)
    return (stored.variables, stored.revision) != (proposal.pool.variables, proposal.pool.revision)


@contextmanager
def _steps(session: Session) -> Iterator[tuple[Context, PlainProgress | LiveProgress]]:
    """Yield the context of a pool's way, and its display, which is held still while a person reads."""
    with session.working() as context:
        yield context, context.progress  # type: ignore[misc] # core knows a listener, which this is


def _sentences(proposal: Proposal) -> dict[str, str]:
    """Return what is said of each resource that a proposal is about, by address."""
    return {change.address: change.sentence(proposal.nouns) for change in proposal.plan.changes}


def _proposed(context: Context, pool: WorkPool, *, purpose: Any = "provision") -> Any:
    from poolform.core.pools.planning import propose

    return propose(context, pool, purpose=purpose)


def _from_bundle(context: Context, path: Path, pool: WorkPool) -> Any:
    from poolform.core.pools.bundle import read_bundle

    return read_bundle(context, path, pool)
