"""Keeps a register of what was provisioned and destroyed, one JSON line each, in the file that POOL_REGISTER names.

`poolform register` reads it.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import typer

from poolform import hookimpl


@hookimpl
def poolform_after_apply(pool):
    note("provisioned", pool)


@hookimpl
def poolform_after_destroy(pool):
    note("destroyed", pool)


@hookimpl
def poolform_commands(app):
    @app.command("register")
    def register() -> None:
        """Show what was provisioned and destroyed, when, and by which plugin."""
        file = path()
        for line in file.read_text().splitlines() if file.exists() else ():
            entry = json.loads(line)
            typer.echo(f"{entry['at']}  {entry['event']:<11}  {entry['pool']} ({entry['type']}, {entry['plugin']})")


def note(event, pool):
    """Add a line. An exception, such as for a full disk, is shown as a warning; the pool is as it is."""
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "event": event,
        "pool": pool.name,
        "id": pool.id,
        "type": pool.type,
        "plugin": f"{pool.plugin} {pool.plugin_version}",
        "account": (pool.identity or {}).get("account"),
    }
    with path().open("a") as file:
        file.write(json.dumps(entry) + "\n")


def path():
    return Path(os.environ.get("POOL_REGISTER", "pools.jsonl"))
