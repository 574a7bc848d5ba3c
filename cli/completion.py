"""What a shell offers to complete: names from the database. Quick, and silent whatever goes wrong."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def pool_names(incomplete: str) -> list[str]:
    """Return the work pools whose names begin so."""
    return _stored("SELECT name FROM work_pools ORDER BY name", incomplete)


def deployment_names(incomplete: str) -> list[str]:
    """Return the deployments whose names, FLOW/NAME, begin so."""
    return _stored("SELECT flow_name || '/' || name AS name FROM deployments ORDER BY 1", incomplete)


def pool_types(incomplete: str) -> list[str]:
    """Return the pool types that begin so."""

    def slugs() -> list[str]:
        from poolform.core.plugins import load_plugins
        from poolform.core.settings import Settings

        return sorted(load_plugins(Settings.from_environment(os.environ)).pool_types)

    return _beginning(slugs, incomplete)


def _stored(sql: str, incomplete: str) -> list[str]:
    def names() -> list[str]:
        from poolform.core.settings import Settings
        from poolform.core.store.database import open_store

        settings = Settings.from_environment(os.environ)
        if settings.database_url.startswith("sqlite:///") and not (settings.home / "poolform.db").exists():
            return []  # to press Tab makes no database
        with open_store(settings) as store, store.read() as tx:
            return [str(row["name"]) for row in tx.execute(sql)]

    return _beginning(names, incomplete)


def _beginning(names: Callable[[], list[str]], incomplete: str) -> list[str]:
    try:
        return [name for name in names() if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a person who presses Tab asked for no error
        return []
