"""The verbs of `poolform work-pool` about pool types: what can be made here, and what it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli.completion import pool_types
from poolform.cli.session import Session
from poolform.cli.view import Format, Output, say, show, show_json, table
from poolform.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.pools.catalogue import Registered

app = typer.Typer()


@app.command("types")
def types(
    ctx: typer.Context,
    slug: Annotated[
        str | None,
        typer.Argument(
            metavar="[TYPE]", help="Describe this type's variables.", show_default=False, autocompletion=pool_types
        ),
    ] = None,
    output: Output = Format.text,
) -> None:
    """List the pool types that can be made here, or describe one."""
    plugins = Session.of(ctx).loaded
    for problem in plugins.problems if slug is not None else plugins.all_problems():
        say(f"Warning: {problem.message}", "yellow")
    if slug is not None:
        _describe_type(plugins.pool_type(slug), output)
        return
    found = [
        {"type": name, "title": r.pool_type.title, "description": r.pool_type.description, "plugin": r.plugin.label}
        for name, r in sorted(plugins.pool_types.items())
    ]
    if output is Format.json:
        show_json(found)
    else:
        rows = [(item["type"], item["title"], item["plugin"]) for item in found]
        table(("TYPE", "TITLE", "PLUGIN"), rows, empty="There are no pool types.")


@app.command("get-default-base-job-template")
def get_default_base_job_template(
    ctx: typer.Context,
    type_: Annotated[
        str, typer.Option("--type", "-t", metavar="TYPE", help="The pool type.", autocompletion=pool_types)
    ],
    file: Annotated[Path | None, typer.Option("--file", "-f", metavar="FILE", help="Write it here instead.")] = None,
) -> None:
    """Print the base job template that pools of a type start with."""
    from poolform.core.runs.jobs import base_job_template

    template = base_job_template(Session.of(ctx).plugins.pool_type(type_).pool_type)
    if file is None:
        show_json(template)
        return
    try:
        file.write_text(json.dumps(template, indent=2) + "\n", encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"{file} cannot be written: {exc.strerror}.") from exc
    say(f"Wrote {file}.")


def described(schema: Mapping[str, Any], found: Mapping[str, Any] | None = None) -> list[tuple[str, str | None, str]]:
    """Return name, default and meaning of each property of a JSON Schema; `found` are defaults of this machine."""
    from poolform.core.terraform import hcl

    required = schema.get("required", ())
    rows = []
    for name, field in schema.get("properties", {}).items():
        default: str | None = None
        if found and name in found:
            default = f"{json.dumps(found[name])} (found here)"
        elif name in required:
            default = "required"
        elif field.get("default") is not None:
            default = json.dumps(field["default"])
        values = hcl.allowed(field, schema.get("$defs", {}))
        choices = f"One of: {', '.join(map(str, values))}." if values else ""
        rows.append((name, default, f"{field.get('description', '')} {choices}".strip()))
    return rows


def _describe_type(registered: Registered, output: Format) -> None:
    pool_type = registered.pool_type
    schema = pool_type.variables.model_json_schema()
    if output is Format.json:
        show_json({"type": pool_type.slug, "title": pool_type.title, "variables": schema})
        return
    show(f"{pool_type.slug}: {pool_type.title}. {pool_type.description}".rstrip())
    with registered.acting("discover"):
        rows = described(schema, pool_type.discover())
    table(("VARIABLE", "DEFAULT", "MEANING"), rows, empty="It has no variables.")
