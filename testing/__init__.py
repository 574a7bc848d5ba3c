"""The public test kit, for plugin authors as for us. Install it with `pip install poolform[testing]`.

- `LauncherContract` and `PoolTypeContract`: pytest classes to subclass; each test is one rule of a contract.
- `poolform.testing.fixtures`: a throw-away home, and stand-in Terraform providers while a test runs.
- `poolform.testing.standin`: those providers, of schemas written in a few lines; faults, and a cloud to look into.
- `poolform.testing.schemas`: the schemas of public providers.
- `poolform.testing.check`: all of it, run for a whole plugin; what `poolform plugin check` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolform.testing.launchers import LauncherContract
    from poolform.testing.pool_types import PoolTypeContract

_HOMES = {
    "LauncherContract": "poolform.testing.launchers",
    "PoolTypeContract": "poolform.testing.pool_types",
}

__all__ = ["LauncherContract", "PoolTypeContract"]


def __getattr__(name: str) -> Any:
    """Import what is asked for: the kit's parts need pytest, which this module is also read without."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
