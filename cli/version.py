"""`poolform version`."""

from __future__ import annotations

import platform
import sqlite3
from importlib.metadata import version as installed

import typer

from poolform.cli.view import Format, Output, fields, show_json

app = typer.Typer(add_completion=False)


@app.command()
def version(ctx: typer.Context, output: Output = Format.text) -> None:
    """Say which Poolform, Python and Terraform this is."""
    from poolform.cli.session import Session
    from poolform.core.errors import PoolformError
    from poolform.core.terraform.locate import locate

    try:
        terraform = locate(Session.of(ctx).settings).title
    except PoolformError as exc:
        terraform = exc.message
    values = {
        "poolform": installed("poolform"),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "terraform": terraform,
        "platform": platform.platform(),
    }
    if output is Format.json:
        show_json(values)
    else:
        fields(values)
