"""`poolform plugin`: who provides what."""

from __future__ import annotations

import typer

from poolform.cli.session import Session
from poolform.cli.view import Format, Output, say, show_json, table

app = typer.Typer(help="Plugins: who provides which pool types.", no_args_is_help=True, add_completion=False)


@app.callback()
def noun() -> None:
    """Plugins: who provides which pool types."""


@app.command("ls")
def ls(ctx: typer.Context, output: Output = Format.text) -> None:
    """List plugins, what they bring, and what is wrong with those that were left out. Exit code 1 if any was."""
    plugins = Session.of(ctx).plugins
    brought: dict[str, list[str]] = {plugin.name: [] for plugin in plugins.plugins}
    for slug, registered in plugins.pool_types.items():
        brought[registered.plugin.name].append(slug)
    if output is Format.json:
        show_json(
            {
                "plugins": [
                    {"name": p.name, "package": p.distribution, "version": p.version, "pool_types": brought[p.name]}
                    for p in plugins.plugins
                ],
                "problems": [{"plugin": problem.plugin, "message": problem.message} for problem in plugins.problems],
            }
        )
    else:
        rows = [(p.name, p.distribution, p.version, ", ".join(brought[p.name])) for p in plugins.plugins]
        table(("PLUGIN", "PACKAGE", "VERSION", "POOL TYPES"), rows, empty="There are no plugins.")
        for problem in plugins.problems:
            say(f"\n{problem.message[:1].upper()}{problem.message[1:]}", "red")
            if problem.hint:
                say(problem.hint)
    if plugins.problems:
        raise typer.Exit(1)
