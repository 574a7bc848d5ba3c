"""The verbs of `poolform work-pool` that look without changing anything: drift, render, graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli.completion import pool_types
from poolform.cli.session import Session
from poolform.cli.view import Format, Output, say, show, show_json
from poolform.cli.work_pool_options import MaybeName, Name, Set, Vars, gathered, named_pool, with_variables

if TYPE_CHECKING:
    from poolform.core.store.pools import WorkPool

app = typer.Typer()

CHANGES_PENDING = 4


@app.command("drift")
def drift(ctx: typer.Context, name: Name, output: Output = Format.text) -> None:
    """Compare a pool's infrastructure with what was applied. Exit code 4 says that something differs."""
    from poolform.cli.proposal import show_sentences
    from poolform.core.pools import inspection
    from poolform.core.pools.credentials import trouble

    session = Session.of(ctx)
    pool = named_pool(session, name)
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
            registered = session.plugins.pool_types.get(pool.type)
            say(f"{trouble(registered and registered.pool_type)}: {credential.message}", "red")
        say(f"Put it right: poolform work-pool provision-infra {name}")
    if not found.is_clean:
        raise typer.Exit(CHANGES_PENDING)


@app.command("render")
def render(
    ctx: typer.Context,
    name: MaybeName = None,
    *,
    type_: Annotated[
        str | None,
        typer.Option("--type", "-t", metavar="TYPE", help="Render a type without a pool.", autocompletion=pool_types),
    ] = None,
    set_: Set = None,
    vars_: Vars = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write the module here.")] = None,
    with_backend: Annotated[bool, typer.Option("--with-backend", help="Write its backend settings too.")] = False,
    output: Output = Format.text,
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
    if output is Format.json:
        show_json(module.files)
    elif out is None:
        for file, text in sorted(module.files.items()):
            show(f"# ---- {file}\n{text}")
    if out is None:
        return
    inspection.write_out(
        module, out, slug=pool.type, revision=revision, name=pool.name, backend=backend if with_backend else None
    )
    say(f"Wrote {len(module.files)} files to {out}. They work without Poolform: terraform init && terraform apply")


@app.command("graph")
def graph(
    ctx: typer.Context,
    name: MaybeName = None,
    *,
    type_: Annotated[
        str | None,
        typer.Option("--type", "-t", metavar="TYPE", help="Graph of a type without a pool.", autocompletion=pool_types),
    ] = None,
    set_: Set = None,
    vars_: Vars = None,
    output: Output = Format.text,
) -> None:
    """Print the graph of a pool's resources, as a Mermaid flowchart."""
    from poolform.core.pools import inspection

    session = Session.of(ctx)
    pool = _pool_or_sample(session, name, type_, set_, vars_)
    module, _ = _rendered(session, pool)
    with session.working() as context:
        nodes, edges = inspection.graph(context, pool.id, module)
    if output is Format.json:
        show_json({"resources": nodes, "needs": [{"from": user, "to": needed} for user, needed in edges]})
    else:
        show(inspection.mermaid(nodes, edges))


def _pool_or_sample(session: Session, name: str | None, type_: str | None, set_: Any, vars_: Path | None) -> WorkPool:
    from poolform.core.errors import UsageError
    from poolform.core.pools import records

    if (name is None) == (type_ is None):
        raise UsageError("Give the name of a work pool, or --type.")
    if name is not None:
        return with_variables(session, named_pool(session, name), set_, vars_)
    registered = session.plugins.pool_type(str(type_))
    return records.new_record("my-pool", registered, gathered(registered, {}, set_, vars_))


def _rendered(session: Session, pool: WorkPool) -> tuple[Any, int]:
    from poolform.core.pools.records import type_of
    from poolform.core.pools.revisions import stored_variables
    from poolform.core.terraform.render import render as render_module

    registered = type_of(session.plugins, pool)
    pool_type = registered.pool_type
    variables = stored_variables(registered, pool)
    with registered.acting("rendering"):
        module = render_module(pool_type, variables, pool_name=pool.name, pool_id=pool.id)
    return module, pool_type.revision
