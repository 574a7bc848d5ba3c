"""What a shell offers to complete: names from the database. Quick, and silent whatever goes wrong."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

_T = TypeVar("_T")

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_NEWEST = 20
"""Runs that are offered at most, newest first: whoever presses Tab means a late one."""
_LOOKED_AT = 500
"""Runs that are looked at for those, so that a large database answers as quickly as a small one."""


def pool_names(incomplete: str) -> list[str]:
    """Return the work pools whose names begin so."""
    return _beginning(_names("SELECT name FROM work_pools ORDER BY name"), incomplete)


def deployment_names(incomplete: str) -> list[str]:
    """Return the deployments whose names, FLOW/NAME, begin so."""
    sql = "SELECT flow_name || '/' || name AS name FROM deployments ORDER BY 1"
    return _beginning(_names(sql), incomplete)


def block_names(incomplete: str) -> list[str]:
    """Return the blocks whose names, TYPE/NAME, begin so."""
    return _beginning(_names("SELECT type || '/' || name AS name FROM blocks ORDER BY 1"), incomplete)


def queue_names(ctx: Any, incomplete: str) -> list[str]:
    """Return the work queues whose names begin so: of the pool that is named already, else of all."""
    sql = "SELECT DISTINCT q.name FROM work_queues q JOIN work_pools p ON p.id = q.pool_id"
    pool = ctx.params.get("pool")
    if pool:
        return _beginning(_names(f"{sql} WHERE p.name = :pool ORDER BY q.name", pool=pool), incomplete)
    return _beginning(_names(f"{sql} ORDER BY q.name"), incomplete)


def schedules(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """Return the schedules of the deployment that is named already which begin so, each with when it is due."""

    def those() -> list[tuple[str, str]]:
        rows = _stored(
            "SELECT s.id, s.slug, s.kind, s.expression FROM schedules s JOIN deployments d ON d.id = s.deployment_id "
            "WHERE d.flow_name || '/' || d.name = :deployment",
            {"deployment": ctx.params.get("name") or ""},
        )
        found = [(str(row["slug"] or row["id"][:12]), f"{row['kind']} {row['expression']}") for row in rows]
        return sorted(each for each in found if each[0].startswith(incomplete))

    return _silently(those)


def runs(incomplete: str) -> list[tuple[str, str]]:
    """Return the newest runs whose ids begin so, or else whose names do, each with its name and state."""

    def newest() -> list[tuple[str, str]]:
        rows = _stored(
            "SELECT id, name, state FROM flow_runs ORDER BY created_at DESC LIMIT :most", {"most": _LOOKED_AT}
        )
        found = [(str(row["id"])[:12], str(row["name"]), str(row["state"])) for row in rows]
        by_id = [(key, f"{name}, {state}") for key, name, state in found if key.startswith(incomplete)]
        by_name = [(name, f"{key}, {state}") for key, name, state in found if name.startswith(incomplete)]
        return (by_id or by_name)[:_NEWEST]

    return _silently(newest)


def pool_types(incomplete: str) -> list[str]:
    """Return the pool types that begin so."""

    def slugs() -> list[str]:
        from poolform.core.plugins import load_plugins
        from poolform.core.settings import Settings

        return sorted(load_plugins(Settings.from_environment(os.environ)).pool_types)

    return _beginning(slugs, incomplete)


def _names(sql: str, **values: str) -> Callable[[], list[str]]:
    return lambda: [str(row["name"]) for row in _stored(sql, values)]


def _stored(sql: str, values: Mapping[str, Any]) -> Sequence[Any]:
    from poolform.core.settings import Settings
    from poolform.core.store.database import open_store

    settings = Settings.from_environment(os.environ)
    if settings.database_url.startswith("sqlite:///") and not (settings.home / "poolform.db").exists():
        return []  # to press Tab makes no database
    with open_store(settings) as store, store.read() as tx:
        return tx.execute(sql, values)


def _beginning(names: Callable[[], list[str]], incomplete: str) -> list[str]:
    return _silently(lambda: [name for name in names() if name.startswith(incomplete)])


def _silently(offers: Callable[[], list[_T]]) -> list[_T]:
    try:
        return offers()
    except Exception:  # noqa: BLE001 - a person who presses Tab asked for no error
        return []
