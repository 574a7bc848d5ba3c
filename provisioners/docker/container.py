"""From a job to a container: its name, and what docker-py's `containers.create` is asked. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolform.core.runs.launchers import LaunchRefused
from poolform.provisioners.process.strings import check_string

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolform.core.runs.launchers import Job, Json

POOL_LABEL = "poolform-pool-id"
KEPT_LABEL = "poolform-keep"
QUIET_LABEL = "poolform-quiet"
# https://github.com/moby/moby/blob/master/daemon/names/names.go
_KEY = re.compile(r"[a-zA-Z0-9_.-]{1,200}")
_OURS = frozenset({
    "auto_remove", "command", "detach", "environment", "image", "labels", "name", "remove", "stop_signal", "tty",
})  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What is asked for one job: the options of `containers.create`, and the networks to join beside the first."""

    image: str
    pull_policy: str
    options: Mapping[str, Json]
    more_networks: Sequence[str]


def name_of(key: str) -> str:
    """Return the name of a job's container, which is its handle: the engine lets no two have it."""
    if not _KEY.fullmatch(key):
        raise LaunchRefused(f"{key!r} cannot name a container.")
    return f"poolform-{key}"


def request_for(job: Job, pool_id: str) -> Request:
    """Return the request for a job. Raises LaunchRefused for what no container can be given."""
    configuration = job.configuration
    more = dict(configuration.get("container_create_kwargs") or {})
    if taken := sorted(_OURS & more.keys()):
        raise LaunchRefused(f"container_create_kwargs must not set {', '.join(taken)}, which Poolform sets itself.")
    networks = list(configuration.get("networks") or ())
    options: dict[str, Json] = {
        "init": True,  # as PID 1, a job would not die of signals that it has no handler for, nor reap its children
        **more,
        **_limits(configuration),
        "command": list(job.command),
        "name": name_of(job.key),
        "environment": _environment(job),
        "labels": _labels(job, pool_id),
        "volumes": [*(configuration.get("volumes") or ()), *_binds(more)],
        "privileged": bool(configuration.get("privileged", False)),
        "stop_signal": "SIGTERM",
        "detach": True,
    }
    if mode := configuration.get("network_mode"):
        networks = []
        options["network_mode"] = mode
    elif networks:
        options["network"] = networks[0]
    return Request(configuration["image"], policy_of(configuration), options, networks[1:])


def policy_of(configuration: Mapping[str, Json]) -> str:
    """Return when to pull a job's image. A tag that moves is looked for, one that does not is taken as it is here."""
    given = configuration.get("image_pull_policy")
    if given:
        return str(given)
    image = str(configuration["image"])
    tag = image.rpartition("/")[2].partition(":")[2]
    return "IfPossible" if tag in ("", "latest") and "@" not in image else "IfNotPresent"


def _limits(configuration: Mapping[str, Json]) -> dict[str, Json]:
    names = ("mem_limit", "memswap_limit")
    limits: dict[str, Json] = {name: configuration[name] for name in names if configuration.get(name)}
    if limits.get("memswap_limit") == "-1":
        limits["memswap_limit"] = -1
    if configuration.get("cpus"):
        limits["nano_cpus"] = round(configuration["cpus"] * 1e9)
    return limits


def _binds(more: Mapping[str, Json]) -> list[str]:
    """Return the volumes among somebody's own options, which may be in either of docker-py's two forms."""
    given = more.get("volumes") or []
    if isinstance(given, dict):
        return [f"{source}:{bind['bind']}:{bind.get('mode', 'rw')}" for source, bind in given.items()]
    return list(given)


def _environment(job: Job) -> dict[str, str | None]:
    """Return the job's environment; None takes a variable of the image's away."""
    unset = {name: None for name, value in (job.configuration.get("env") or {}).items() if value is None}
    given = {**job.env, **job.secrets}
    for name, value in given.items():
        if not name or "=" in name:
            raise LaunchRefused(f"{name!r} cannot name an environment variable.")
        check_string(f"The environment variable {name}", f"{name}={value}")
    for word in job.command:
        check_string("A word of the command", word)
    return {**unset, **given}


def _labels(job: Job, pool_id: str) -> dict[str, str]:
    labels = {**job.labels, "poolform-job": job.name, "poolform-key": job.key, POOL_LABEL: pool_id}
    if job.configuration.get("auto_remove") is False:
        labels[KEPT_LABEL] = "1"
    if job.configuration.get("stream_output") is False:
        labels[QUIET_LABEL] = "1"
    return labels
