"""Poolform: infrastructure for Python flows, provisioned with Terraform.

What is here is the public API. Importing this package is free: each name is fetched when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from poolform.core.errors import PoolformError
    from poolform.core.plugins import hookimpl
    from poolform.core.pools.contract import (
        Block,
        ChecksCredentials,
        Connection,
        Credential,
        Disconnects,
        Finding,
        FindsOrphans,
        Identity,
        JobVariables,
        Migrates,
        MintsCredentials,
        Orphan,
        Outputs,
        PoolType,
        Provider,
        Review,
        Variables,
    )
    from poolform.core.runs.flows import Flow, flow
    from poolform.core.runs.launchers import (
        Job,
        JobStatus,
        Launcher,
        LaunchRefused,
        LogLine,
        LogPage,
        NoCapacity,
        Notifies,
        Prepares,
        Unavailable,
        Unknowable,
    )

    __version__: str

__all__ = [
    "Block",
    "ChecksCredentials",
    "Connection",
    "Credential",
    "Disconnects",
    "Finding",
    "FindsOrphans",
    "Flow",
    "Identity",
    "Job",
    "JobStatus",
    "JobVariables",
    "LaunchRefused",
    "Launcher",
    "LogLine",
    "LogPage",
    "Migrates",
    "MintsCredentials",
    "NoCapacity",
    "Notifies",
    "Orphan",
    "Outputs",
    "PoolType",
    "PoolformError",
    "Prepares",
    "Provider",
    "Review",
    "Unavailable",
    "Unknowable",
    "Variables",
    "__version__",
    "flow",
    "hookimpl",
]

_ELSEWHERE = {
    "core.errors": ("PoolformError",),
    "core.plugins": ("hookimpl",),
    "core.runs.flows": ("Flow", "flow"),
    "core.runs.launchers": (
        *("Job", "JobStatus", "LaunchRefused", "Launcher", "LogLine", "LogPage"),
        *("NoCapacity", "Notifies", "Prepares", "Unavailable", "Unknowable"),
    ),
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("poolform")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = next((module for module, names in _ELSEWHERE.items() if name in names), "core.pools.contract")
    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
