"""What the verbs of `poolform work-pool` take: names, variables from flags, files and answers."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli.completion import pool_names
from poolform.cli.proposal import ask
from poolform.cli.view import can_ask, iso

if TYPE_CHECKING:
    from poolform.cli.session import Session
    from poolform.core.pools.catalogue import Registered
    from poolform.core.store.pools import WorkPool

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the work pool.", show_default=False, autocompletion=pool_names)
]
MaybeName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="Name of the work pool; or give --type.", show_default=False)
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help='Set a variable; may be repeated. Lists and maps are written as JSON: --set \'tags={"team": "data"}\'',
    ),
]
Vars = Annotated[Path | None, typer.Option("--vars", metavar="FILE", help="JSON, YAML or TOML file of variables.")]
BackendConfig = Annotated[
    list[str] | None,
    typer.Option("--backend-config", metavar="KEY=VALUE", help="A setting of the backend; may be repeated."),
]
JobTemplate = Annotated[
    Path | None,
    typer.Option("--base-job-template", metavar="FILE", help="JSON file with the template of the pool's jobs."),
]
Limit = Annotated[int | None, typer.Option("--concurrency-limit", min=0, help="Most runs at a time.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Apply without being asked.")]


def named_pool(session: Session, name: str) -> WorkPool:
    """Return the pool of this name. Raises NotFound with the nearest names."""
    from poolform.core.store import pools

    with session.store.read() as tx:
        return pools.get(tx, name)


def chosen_type(session: Session, given: str | None) -> str:
    """Return the pool type that was given, or asked for on a terminal."""
    from poolform.core.errors import UsageError

    if given is not None:
        return given
    known = sorted(session.plugins.pool_types)
    if not can_ask():
        raise UsageError("No pool type was given.", hint=f"Give --type, one of: {', '.join(known)}.")
    return ask(f"Pool type ({', '.join(known)})")


def gathered(registered: Registered, stored: dict[str, Any], set_: Any, vars_: Path | None) -> Any:
    """Gather variables from where they were stored, the file, the flags and, on a terminal, the person."""
    from poolform.core.pools import variables

    pool_type = registered.pool_type
    layers = [
        {key: variables.Given(value, "stored with the pool") for key, value in stored.items()},
        variables.from_file(vars_) if vars_ else {},
        variables.from_assignments(set_ or (), pool_type.variables),
    ]
    with registered.acting("discover"):
        given = variables.gather(pool_type, *layers)
    if can_ask():
        for name in variables.missing(pool_type, given):
            given[name] = variables.ask(name, pool_type, ask)
    return variables.validate(pool_type, given)


def with_variables(session: Session, pool: WorkPool, set_: Any, vars_: Path | None) -> WorkPool:
    """Return the record of a pool with these variables laid over its own."""
    from poolform.core.pools.records import type_of
    from poolform.core.pools.revisions import migrated

    if not set_ and vars_ is None:
        return pool
    registered = type_of(session.plugins, pool)
    model = gathered(registered, migrated(registered, pool), set_, vars_)
    return replace(pool, variables=model.model_dump(mode="json"))


def pairs(given: list[str] | None, flag: str) -> dict[str, str]:
    """Return KEY=VALUE flags as a mapping; environment variables in values are expanded."""
    from poolform.core.errors import UsageError

    found = {}
    for item in given or ():
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"{flag} {item!r} is not of the form KEY=VALUE.")
        found[key] = os.path.expandvars(value)
    return found


def as_json(pool: WorkPool, *, whole: bool = False) -> dict[str, Any]:
    """Return a pool for programs; `whole` with its variables and its base job template."""
    values = asdict(pool)
    for bulky in () if whole else ("variables", "base_job_template"):
        del values[bulky]
    return {**values, "created_at": iso(pool.created_at), "updated_at": iso(pool.updated_at)}
