"""`poolform init`: a first project file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poolform.cli.session import Session
from poolform.cli.view import say

app = typer.Typer(add_completion=False)


@app.command()
def init(
    ctx: typer.Context,
    pool: Annotated[str, typer.Option("--pool", "-p", help="The work pool that its deployments are for.")] = "my-pool",
) -> None:
    """Write a poolform.yaml, with a deployment for each flow of this folder."""
    from poolform.core.errors import AlreadyExists, PoolformError
    from poolform.core.pools.records import check_name
    from poolform.core.runs.project import NAMES
    from poolform.core.runs.starting import starting_point
    from poolform.core.store import pools

    check_name(pool)
    for name in NAMES:
        if Path(name).exists():
            raise AlreadyExists(f"There is a {name} already.", hint="See what it would change: poolform apply --plan")
    with Session.of(ctx).store.read() as tx:
        known = pools.find(tx, pool)
    file = Path(NAMES[0])
    text = starting_point(Path.cwd(), pool=pool, pool_type=known.type if known else "process")
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise PoolformError(
            f"{file} cannot be written here: {exc.strerror or exc}.", hint="Go to a folder that you may write to."
        ) from exc
    say(f"Wrote {file}. See what it would change, then do it: poolform apply")
