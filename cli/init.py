"""`poolform init`: a first project file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poolform.cli.view import say

app = typer.Typer(add_completion=False)


@app.command()
def init(
    pool: Annotated[str, typer.Option("--pool", "-p", help="The work pool that its deployments are for.")] = "my-pool",
) -> None:
    """Write a poolform.yaml, with a deployment for each flow of this folder."""
    from poolform.core.errors import AlreadyExists
    from poolform.core.pools.records import check_name
    from poolform.core.runs.project import NAMES
    from poolform.core.runs.starting import starting_point

    check_name(pool)
    for name in NAMES:
        if Path(name).exists():
            raise AlreadyExists(f"There is a {name} already.", hint="See what it would change: poolform apply --plan")
    file = Path(NAMES[0])
    file.write_text(starting_point(Path.cwd(), pool=pool), encoding="utf-8")
    say(f"Wrote {file}. See what it would change, then do it: poolform apply")
