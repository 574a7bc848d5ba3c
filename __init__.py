"""Poolform: infrastructure for Python flows, provisioned with Terraform.

What is here is the public API. Importing this package is free: each name is fetched when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from poolform.core.dispatch.serving import serve
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
        Moves,
        Orphan,
        Outputs,
        PoolType,
        Provider,
        Review,
        Suggests,
        Variables,
    )
    from poolform.core.runs.authoring import deploy, to_deployment
    from poolform.core.runs.bootstrap import StartsRuntime
    from poolform.core.runs.flows import Flow, flow
    from poolform.core.runs.images import DeploymentImage, DockerImage
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
    from poolform.core.runs.schedules import Cron, Interval, RRule, Schedule
    from poolform.core.runs.sources import GitRepository, LocalStorage, RemoteStorage
    from poolform.core.store.pools import WorkPool
    from poolform.core.store.runs import FlowRun
    from poolform.core.terraform.plan import Change, Plan

    __version__: str

__all__ = [
    "Block",
    "Change",
    "ChecksCredentials",
    "Connection",
    "Credential",
    "Cron",
    "DeploymentImage",
    "Disconnects",
    "DockerImage",
    "Finding",
    "FindsOrphans",
    "Flow",
    "FlowRun",
    "GitRepository",
    "Identity",
    "Interval",
    "Job",
    "JobStatus",
    "JobVariables",
    "LaunchRefused",
    "Launcher",
    "LocalStorage",
    "LogLine",
    "LogPage",
    "Migrates",
    "MintsCredentials",
    "Moves",
    "NoCapacity",
    "Notifies",
    "Orphan",
    "Outputs",
    "Plan",
    "PoolType",
    "PoolformError",
    "Prepares",
    "Provider",
    "RRule",
    "RemoteStorage",
    "Review",
    "Schedule",
    "StartsRuntime",
    "Suggests",
    "Unavailable",
    "Unknowable",
    "Variables",
    "WorkPool",
    "__version__",
    "deploy",
    "flow",
    "hookimpl",
    "serve",
    "to_deployment",
]

_ELSEWHERE = {
    "core.dispatch.serving": ("serve",),
    "core.errors": ("PoolformError",),
    "core.plugins": ("hookimpl",),
    "core.runs.authoring": ("deploy", "to_deployment"),
    "core.runs.bootstrap": ("StartsRuntime",),
    "core.runs.flows": ("Flow", "flow"),
    "core.runs.images": ("DeploymentImage", "DockerImage"),
    "core.runs.launchers": (
        *("Job", "JobStatus", "LaunchRefused", "Launcher", "LogLine", "LogPage"),
        *("NoCapacity", "Notifies", "Prepares", "Unavailable", "Unknowable"),
    ),
    "core.runs.schedules": ("Cron", "Interval", "RRule", "Schedule"),
    "core.runs.sources": ("GitRepository", "LocalStorage", "RemoteStorage"),
    "core.store.pools": ("WorkPool",),
    "core.store.runs": ("FlowRun",),
    "core.terraform.plan": ("Change", "Plan"),
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
