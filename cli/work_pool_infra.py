"""The verbs of `poolform work-pool` that make, compare and destroy infrastructure."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli.session import Session
from poolform.cli.view import Format, Output, say, show, show_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from poolform.core.plugins import Registered
    from poolform.core.pools.planning import Context
    from poolform.core.pools.proposal import Proposal
    from poolform.core.store.pools import WorkPool

app = typer.Typer()

CHANGES_PENDING = 4

Name = Annotated[str, typer.Argument(help="Name of the work pool.", show_default=False)]
MaybeName = Annotated[str | None, typer.Argument(help="Name of the work pool; or give --type.", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a variable; may be repeated.")]
Vars = Annotated[Path | None, typer.Option("--vars", metavar="FILE", help="JSON, YAML or TOML file of variables.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Apply without being asked.")]


@app.command("create")
def create(
    ctx: typer.Context,
    name: Name,
    *,
    type_: Annotated[str | None, typer.Option("--type", "-t", help="Pool type; see `work-pool types`.")] = None,
    provision_: Annotated[bool, typer.Option("--provision-infra", help="Provision infrastructure for it now.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show what provisioning would do, and make nothing.")] = False,
    set_: Set = None,
    vars_: Vars = None,
    yes: Yes = False,
    backend: Annotated[str, typer.Option("--backend", help="Where Terraform keeps the pool's state.")] = "local",
    backend_config: Annotated[list[str] | None, typer.Option("--backend-config", metavar="KEY=VALUE")] = None,
    base_job_template: Annotated[Path | None, typer.Option("--base-job-template", help="JSON file.")] = None,
    concurrency_limit: Annotated[int | None, typer.Option("--concurrency-limit", min=0)] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Make it paused.")] = False,
    output: Output = Format.text,
) -> None:
    """Create a work pool, with its infrastructure if --provision-infra is given."""
    from poolform.core.errors import AlreadyExists
    from poolform.core.pools import records
    from poolform.core.runs.jobs import load_template
    from poolform.core.store import pools
    from poolform.core.terraform.providers import Backend

    session = Session.of(ctx)
    records.check_name(name)
    registered = session.plugins.pool_type(_type(session, type_))
    template = load_template(base_job_template) if base_job_template else None
    state = Backend(backend, _pairs(backend_config, "--backend-config"))
    with session.store.read() as tx:
        existing = pools.find(tx, name)
    if existing is not None:
        go_on = f"Go on with its infrastructure: poolform work-pool provision-infra {name}"
        raise AlreadyExists(
            f"A work pool named {name} exists already ({existing.type}, {existing.state}).",
            hint=go_on
            if existing.state == "provisioning"
            else f"Take another name, or look at it: poolform work-pool inspect {name}",
        )
    variables = _variables(registered, {}, set_, vars_)
    pool = records.new_record(
        name,
        registered,
        variables,
        backend=state,
        template=template,
        concurrency_limit=concurrency_limit,
        paused=paused,
    )
    if plan:
        _show_plan(session, lambda context: _proposed(context, pool), output)
    has_resources = registered.pool_type.templates is not None
    if provision_ or not has_resources:
        provision(session, lambda context: _proposed(context, pool), yes=yes or not has_resources)
        return
    records.store_new(session.store, pool)
    say(f"Created the work pool {name}. It is not provisioned yet: poolform work-pool provision-infra {name}")


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
    pool = _get(session, name)
    if plan is not None:
        if set_ or vars_:
            raise UsageError("--plan applies a plan as it is.", hint="Give variables when the plan is made.")
        provision(session, lambda context: _from_bundle(context, plan, pool), yes=yes)
        return
    changed = _with_variables(session, pool, set_, vars_)
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
    pool = _with_variables(session, _get(session, name), set_, vars_)
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
    pool = _get(session, name)
    if plan:
        _show_plan(session, lambda context: _proposed(context, pool, purpose="upgrade"), output)
    provision(session, lambda context: _proposed(context, pool, purpose="upgrade"), yes=yes)


@app.command("deprovision")
def deprovision(ctx: typer.Context, name: Name, *, yes: Yes = False) -> None:
    """Destroy a pool's infrastructure and everything that was made for it; the pool itself stays."""
    from poolform.cli.proposal import confirm, show_proposal
    from poolform.core.pools.applying import carry_out
    from poolform.core.pools.planning import propose_destroy
    from poolform.core.pools.workspaces import clear_abandoned

    session = Session.of(ctx)
    pool = _get(session, name)
    if pool.state == "not-provisioned":
        clear_abandoned(session.settings)
        say(f"The work pool {name} has no infrastructure.")
        return
    with _steps(session) as (context, pause), propose_destroy(context, pool) as proposal:
        with pause():
            show_proposal(proposal)
            confirm(f"Destroy the infrastructure of {name}?", yes=yes)
        carry_out(context, proposal)
    say(f"Infrastructure of {name} successfully destroyed. Delete the pool: poolform work-pool delete {name}", "green")


@app.command("drift")
def drift(ctx: typer.Context, name: Name, output: Output = Format.text) -> None:
    """Compare a pool's infrastructure with what was applied. Exit code 4 says that something differs."""
    from poolform.cli.proposal import show_sentences
    from poolform.core.pools import inspection

    session = Session.of(ctx)
    pool = _get(session, name)
    with session.working() as context:
        found = inspection.drift(context, pool)
    credential = found.credential
    if output is Format.json:
        show_json(
            {
                "pool": name,
                "clean": found.is_clean,
                "changes": [{"action": s.action, "text": s.text, "details": s.details} for s in found.sentences],
                "credential": credential.verdict if credential else None,
            }
        )
    elif found.is_clean:
        say(f"No drift: {name} is as it was applied.", "green")
    else:
        if found.sentences:
            say(f"{name} has drifted. Putting it right would:")
            show_sentences(found.sentences)
        if credential and credential.verdict == "missing":
            say(f"The pool's credential does not work: {credential.message}", "red")
        say(f"Put it right: poolform work-pool provision-infra {name}")
    if not found.is_clean:
        raise typer.Exit(CHANGES_PENDING)


@app.command("render")
def render(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Name of the work pool; or give --type.", show_default=False)
    ] = None,
    *,
    type_: Annotated[str | None, typer.Option("--type", "-t", help="Render a type without a pool.")] = None,
    set_: Set = None,
    vars_: Vars = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write the module here.")] = None,
    with_backend: Annotated[bool, typer.Option("--with-backend", help="Write its backend settings too.")] = False,
) -> None:
    """Print a pool's Terraform module, or write it to a folder where it works without Poolform."""
    from poolform.core.errors import UsageError
    from poolform.core.pools import inspection
    from poolform.core.terraform.providers import Backend

    session = Session.of(ctx)
    pool = _pool_or_sample(session, name, type_, set_, vars_)
    backend = Backend(**pool.backend) if pool.backend else None
    if with_backend and backend is None:
        raise UsageError(f"The state of {pool.name} is local: there are no backend settings to write.")
    module, revision = _rendered(session, pool)
    if out is None:
        for file, text in sorted(module.files.items()):
            show(f"# ---- {file}\n{text}")
        return
    inspection.write_out(
        module, out, slug=pool.type, revision=revision, name=pool.name, backend=backend if with_backend else None
    )
    say(f"Wrote {len(module.files)} files to {out}. They work without Poolform: terraform init && terraform apply")


@app.command("graph")
def graph(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Name of the work pool; or give --type.", show_default=False)
    ] = None,
    *,
    type_: Annotated[str | None, typer.Option("--type", "-t", help="Graph of a type without a pool.")] = None,
    set_: Set = None,
    vars_: Vars = None,
) -> None:
    """Print the graph of a pool's resources, as a Mermaid flowchart."""
    from poolform.core.pools import inspection

    session = Session.of(ctx)
    pool = _pool_or_sample(session, name, type_, set_, vars_)
    module, _ = _rendered(session, pool)
    with session.working() as context:
        text = inspection.graph(context, pool.id, module)
    show(text)


# -- what the verbs share ----------------------------------------------------------------------------------------


def _show_plan(session: Session, source: Callable[[Context], Any], output: Format, *, out: Path | None = None) -> None:
    """Show a proposal and end: with 0 where there is nothing to do, else with 4."""
    from poolform.cli.proposal import as_json, show_proposal
    from poolform.core.pools.bundle import write_bundle

    with _steps(session) as (context, pause), source(context) as proposal, pause():
        if output is Format.json:
            show_json(as_json(proposal))
        else:
            show_proposal(proposal)
        if out is not None:
            write_bundle(out, proposal)
            name = proposal.pool.name
            say(f"Saved the plan to {out}. Apply it: poolform work-pool provision-infra {name} --plan {out}")
        raise typer.Exit(0 if proposal.is_empty else CHANGES_PENDING)


def provision(session: Session, source: Callable[[Context], Any], *, yes: bool) -> WorkPool:
    """Show a proposal, ask, carry it out; return the pool as it is then."""
    from poolform.cli.proposal import confirm, show_proposal
    from poolform.core.pools.applying import carry_out

    with _steps(session) as (context, pause), source(context) as proposal:
        with pause():
            show_proposal(proposal)
            if proposal.is_empty and proposal.pool.state == "ready" and not _differs(session, proposal):
                return proposal.pool  # type: ignore[no-any-return]
            if not proposal.is_empty:
                confirm("Proceed with provisioning?", yes=yes)
        pool = carry_out(context, proposal)
    say(f"Infrastructure successfully provisioned: the work pool {pool.name} is ready.", "green")
    return pool


def _differs(session: Session, proposal: Proposal) -> bool:
    """Say whether the record would change although the infrastructure does not."""
    stored = _get(session, proposal.pool.name)
    return (stored.variables, stored.revision) != (proposal.pool.variables, proposal.pool.revision)


@contextmanager
def _steps(session: Session) -> Iterator[tuple[Context, Callable[[], Any]]]:
    """Yield the context of a pool's way, and a way to hold the live display still while a person reads."""
    with session.working() as context:
        yield context, context.progress.paused  # type: ignore[attr-defined]


def _proposed(context: Context, pool: WorkPool, *, purpose: Any = "provision") -> Any:
    from poolform.core.pools.planning import propose

    return propose(context, pool, purpose=purpose)


def _from_bundle(context: Context, path: Path, pool: WorkPool) -> Any:
    from poolform.core.pools.bundle import read_bundle

    return read_bundle(context, path, pool)


def _get(session: Session, name: str) -> WorkPool:
    from poolform.core.store import pools

    with session.store.read() as tx:
        return pools.get(tx, name)


def _type(session: Session, given: str | None) -> str:
    from poolform.core.errors import UsageError

    if given is not None:
        return given
    known = sorted(session.plugins.pool_types)
    if not sys.stdin.isatty():
        raise UsageError("No pool type was given.", hint=f"Give --type, one of: {', '.join(known)}.")
    return str(typer.prompt(f"Pool type ({', '.join(known)})", err=True))


def _variables(registered: Registered, stored: dict[str, Any], set_: Any, vars_: Path | None) -> Any:
    """Gather variables from where they were stored, the file, the flags and, on a terminal, the person."""
    from poolform.core.pools import variables

    pool_type = registered.pool_type
    layers = [
        {key: variables.Given(value, "stored with the pool") for key, value in stored.items()},
        variables.from_file(vars_) if vars_ else {},
        variables.from_assignments(set_ or (), pool_type.variables),
    ]
    given = variables.gather(pool_type, *layers)
    if sys.stdin.isatty():
        for name in variables.missing(pool_type, given):
            given[name] = variables.ask(name, pool_type, lambda question: str(typer.prompt(question, err=True)))
    return variables.validate(pool_type, given)


def _with_variables(session: Session, pool: WorkPool, set_: Any, vars_: Path | None) -> WorkPool:
    if not set_ and vars_ is None:
        return pool
    registered = session.plugins.pool_type(pool.type)
    model = _variables(registered, pool.variables, set_, vars_)
    return replace(pool, variables=model.model_dump(mode="json"))


def _pool_or_sample(session: Session, name: str | None, type_: str | None, set_: Any, vars_: Path | None) -> WorkPool:
    from poolform.core.errors import UsageError
    from poolform.core.pools import records

    if (name is None) == (type_ is None):
        raise UsageError("Give the name of a work pool, or --type.")
    if name is not None:
        return _with_variables(session, _get(session, name), set_, vars_)
    registered = session.plugins.pool_type(str(type_))
    return records.new_record("my-pool", registered, _variables(registered, {}, set_, vars_))


def _rendered(session: Session, pool: WorkPool) -> tuple[Any, int]:
    from poolform.core.terraform.render import render as render_module

    pool_type = session.plugins.pool_type(pool.type).pool_type
    variables = pool_type.variables.model_validate(pool.variables)
    return render_module(pool_type, variables, pool_name=pool.name, pool_id=pool.id), pool_type.revision


def _pairs(given: list[str] | None, flag: str) -> dict[str, str]:
    from poolform.core.errors import UsageError

    pairs = {}
    for item in given or ():
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"{flag} {item!r} is not of the form KEY=VALUE.")
        pairs[key] = os.path.expandvars(value)
    return pairs
