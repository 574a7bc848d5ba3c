"""`poolform plugin`: who provides what, a new one, and whether one keeps the contracts."""

from __future__ import annotations

import re
import textwrap
from dataclasses import asdict, astuple
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poolform.cli.session import Session
from poolform.cli.view import Format, Output, say, show, show_json, styled, table
from poolform.core.errors import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolform.testing.check import Report, Shortfall

_PARTICULAR = re.compile(r"(?<!\w)/\S+|\b[0-9a-f]{8}-[0-9a-f-]{27}(\.\d+)?|\d+(\.\d+)?")
"""Paths, keys and numbers, which differ from rule to rule while the fault is one."""

app = typer.Typer(
    help="Plugins: who provides what, a new one, whether one keeps the contracts.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command("ls")
def ls(ctx: typer.Context, output: Output = Format.text) -> None:
    """List plugins, what they bring, and what is wrong with those that were left out. Exit code 1 if any was."""
    plugins = Session.of(ctx).loaded
    problems = plugins.all_problems()
    brought: dict[str, list[str]] = {plugin.name: [] for plugin in plugins.plugins}
    for slug in plugins.pool_types:
        brought[plugins.pool_types.plugin_of(slug).name].append(slug)
    if output is Format.json:
        show_json(
            {
                "plugins": [
                    {"name": p.name, "package": p.distribution, "version": p.version, "pool_types": brought[p.name]}
                    for p in plugins.plugins
                ],
                "problems": [{"plugin": problem.plugin, "message": problem.message} for problem in problems],
            }
        )
    else:
        rows = [(p.name, p.distribution, p.version, ", ".join(brought[p.name])) for p in plugins.plugins]
        table(("PLUGIN", "PACKAGE", "VERSION", "POOL TYPES"), rows, empty="There are no plugins.")
        for problem in problems:
            say(f"\n{problem.message[:1].upper()}{problem.message[1:]}", "red")
            if problem.hint:
                say(problem.hint)
    if problems:
        raise typer.Exit(1)


@app.command("new")
def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What its pool type is called.", show_default=False)],
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Where to write it; ./poolform-NAME if not given.")
    ] = None,
) -> None:
    """Write a new package with a pool type: complete, installable, and passing its own tests."""
    from poolform.core.errors import AlreadyExists
    from poolform.testing import scaffold

    names = scaffold.Names.of(name)
    taken = Session.of(ctx).plugins.pool_types.get(names.slug)
    if taken is not None:
        text = f"There is a pool type {names.slug} already, brought by {taken.plugin.label}."
        raise AlreadyExists(text, hint="Take another name, or uninstall that one.")
    folder = folder or Path(names.distribution)
    for path in scaffold.write(names, folder):
        show(str(path))
    say(f"\nWrote {names.distribution}, with the pool type {names.slug}. Install it, try it, make it yours:", "green")
    say(f"  cd {folder}")
    say("  pip install -e '.[test]'")
    say("  pytest")


@app.command("check")
def check(
    package: Annotated[
        str,
        typer.Argument(
            metavar="PACKAGE", help="An installed package, a plugin's name or a module.", show_default=False
        ),
    ],
    output: Output = Format.text,
) -> None:
    """Try whether a plugin keeps the contracts, rule by rule. Exit code 1 if it falls short anywhere."""
    from poolform.testing.check import run

    report = run(package)
    if output is Format.json:
        show_json({**asdict(report), "conforms": report.conforms})
    else:
        _show_report(report)
    if not report.conforms:
        raise typer.Exit(1)


def _show_report(report: Report) -> None:
    _show_rules("falls short", "red", report.shortfalls)
    _show_rules("not tried", "dim", report.untried)
    kept = f"{report.plugin} keeps {counted(report.kept, 'rule')}"
    if report.conforms:
        say(f"{kept} and falls short of none.", "green")
    else:
        say(f"{kept} and falls short of {len(report.shortfalls)}.", "red")


def _show_rules(verdict: str, style: str, found: Iterable[Shortfall]) -> None:
    """Print a line for each thing there is to say of each subject, below it all the rules that it is said of."""
    groups: dict[tuple[str, str], list[Shortfall]] = {}
    for item in found:
        groups.setdefault((item.subject, _PARTICULAR.sub("…", item.message)), []).append(item)
    for items in groups.values():
        subject, rule, message = astuple(items[0])
        rules = rule if len(items) == 1 else counted(len(items), "rule")
        show(f"{styled(f'{verdict:<11}', style)}  {subject}: {rules}: {message}")
        if len(items) > 1:
            names = "; ".join(item.rule for item in items)
            show(textwrap.fill(names, 110, initial_indent=" " * 13, subsequent_indent=" " * 13))
