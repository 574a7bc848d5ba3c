"""From a job to what Cloud Run is asked: one job of its API for each run. Pure: equal jobs give equal requests.

https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from poolform.core.runs.launchers import LaunchRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.runs.launchers import Job, Json

EXECUTION_TOKEN = "go"  # noqa: S105 - the end of an execution's name, and no secret
"""A job is made and started in one call, so that there is none that was never started."""
NAME_LIMIT = 63 - len(EXECUTION_TOKEN) - 1
"""Most characters of a job's name: together with the token, fewer than 63."""
VALUE_LIMIT = 32_768
"""Most bytes of one environment variable's value."""
VARIABLES_LIMIT = 1000
# https://cloud.google.com/run/docs/configuring/jobs/cpu and …/memory-limits: MiB at least and at most, by CPUs.
SIZES: Mapping[int, tuple[int, int]] = {
    1: (512, 4096),
    2: (512, 8192),
    4: (2048, 16384),
    6: (4096, 24576),
    8: (4096, 32768),
}
_UNITS = {"G": 10**9, "Gi": 2**30, "M": 10**6, "Mi": 2**20}
_RESERVED = ("run.googleapis.com", "cloud.googleapis.com", "serving.knative.dev", "autoscaling.knative.dev")


def job_name(prefix: str, key: str) -> str:
    """Return what the job for a key is called: the key itself where Cloud Run can take it, else a digest of it."""
    plain = f"{prefix}-{key.replace('.', '-')}"
    if re.fullmatch(r"[a-z0-9-]+\.\d+", key) and len(plain) <= NAME_LIMIT:
        return plain
    return f"{prefix}-x{hashlib.sha256(key.encode()).hexdigest()[:24]}"


def secret_name(job: str, number: int) -> str:
    """Return what the secret with a job's own value of that number is called."""
    return f"{job}-{number}"


def execution_name(handle: str) -> str:
    """Return the name of the one execution of a job, from the job's own."""
    return f"{handle}/executions/{handle.rsplit('/', 1)[-1]}-{EXECUTION_TOKEN}"


def define(job: Job, settings: Mapping[str, Json]) -> dict[str, Json]:
    """Return the Job of Cloud Run's API for a job. Raises LaunchRefused for what Cloud Run does not take."""
    configuration = job.configuration
    body: dict[str, Json] = dict(_pruned(configuration.get("job_body") or {}))
    template = body.setdefault("template", {})
    task = template.setdefault("template", {})
    containers = task.setdefault("containers", [{}])
    own = containers[0]
    own["command"] = list(job.command)
    own["env"] = [*own.get("env", ()), *_environment(job, settings)]
    _check_size(own.get("resources", {}).get("limits", {}))
    _check_environment(own["env"])
    _check_retries(task)
    _reach_databases(task, own, configuration.get("cloudsql_instances") or ())
    _reach_network(task, configuration.get("vpc_egress"))
    task.setdefault("serviceAccount", settings["runtime_email"])
    labels = _labels({**settings["labels"], **job.labels})
    template["labels"] = {**template.get("labels", {}), **labels}
    body["labels"] = {**body.get("labels", {}), **labels}
    body["startExecutionToken"] = EXECUTION_TOKEN
    return body


def secrets_of(job: Job, settings: Mapping[str, Json]) -> dict[str, str]:
    """Return the secret that each of a job's own secret values is kept in, by environment variable."""
    name = job_name(settings["prefix"], job.key)
    return {variable: secret_name(name, number) for number, variable in enumerate(sorted(job.secrets))}


def _environment(job: Job, settings: Mapping[str, Json]) -> list[dict[str, Json]]:
    plain = [{"name": name, "value": job.env[name]} for name in sorted(job.env)]
    references = {
        name: (reference["secret"], reference.get("version") or "latest")
        for name, reference in (job.configuration.get("env_from_secrets") or {}).items()
    }
    references |= {name: (secret, "latest") for name, secret in secrets_of(job, settings).items()}
    return plain + [
        {"name": name, "valueSource": {"secretKeyRef": {"secret": secret, "version": version}}}
        for name, (secret, version) in sorted(references.items())
        if name not in job.env
    ]


def _check_environment(variables: list[dict[str, Json]]) -> None:
    if len(variables) > VARIABLES_LIMIT:
        raise LaunchRefused(
            f"it has {len(variables):,} environment variables, and Cloud Run takes at most {VARIABLES_LIMIT:,}"
        )
    for variable in variables:
        size = len(variable.get("value", "").encode())
        if size > VALUE_LIMIT:
            raise LaunchRefused(
                f"the environment variable {variable['name']} takes {size:,} bytes, and Cloud Run takes at most "
                f"{VALUE_LIMIT:,} in one; pass large values, such as parameters, by reference to a file in a bucket"
            )


def _check_size(limits: Mapping[str, str]) -> None:
    given_cpu, given_memory = limits.get("cpu", "1"), limits.get("memory", "512Mi")
    cpu = int(given_cpu.removesuffix("000m")) if given_cpu.endswith("000m") else int(given_cpu)
    if cpu not in SIZES:
        known = ", ".join(map(str, SIZES))
        raise LaunchRefused(f"Cloud Run has no jobs with {given_cpu} CPU; it has {known}")
    unit = given_memory.lstrip("0123456789")
    mib = int(given_memory.removesuffix(unit)) * _UNITS[unit] / 2**20
    least, most = SIZES[cpu]
    if not least <= mib <= most:
        raise LaunchRefused(
            f"Cloud Run has no jobs with {given_cpu} CPU and {given_memory} of memory; with {cpu} CPU, it has "
            f"{least}Mi to {most}Mi"
        )


def _check_retries(task: Mapping[str, Json]) -> None:
    if task.get("maxRetries", 0) != 0:
        raise LaunchRefused(
            "the pool's job template has Cloud Run retry tasks (maxRetries), behind Poolform's back; let the flow retry"
        )


def _reach_databases(task: dict[str, Json], own: dict[str, Json], instances: Json) -> None:
    if instances:
        volume = {"name": "cloudsql", "cloudSqlInstance": {"instances": list(instances)}}
        task["volumes"] = [*task.get("volumes", ()), volume]
        own["volumeMounts"] = [*own.get("volumeMounts", ()), {"name": "cloudsql", "mountPath": "/cloudsql"}]


def _reach_network(task: dict[str, Json], egress: str | None) -> None:
    """Go by a connector or by addresses in a subnet, of which Cloud Run takes one; by neither, by no network."""
    access = task.pop("vpcAccess", None) or {}
    if access.get("connector"):
        access.pop("networkInterfaces", None)
    if access.get("connector") or access.get("networkInterfaces"):
        given = {"egress": egress.upper().replace("-", "_")} if egress else {}
        task["vpcAccess"] = {**given, **access}


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels as Google takes them: lower case, few characters, at most 63 of each, at most 64 labels."""
    clean = {}
    for key, value in labels.items():
        if key.startswith(_RESERVED):
            continue
        name = re.sub(r"[^a-z0-9_-]", "-", key.lower())[:63]
        if re.match(r"[a-z]", name):
            clean[name] = re.sub(r"[^a-z0-9_-]", "-", str(value).lower())[:63]
    return {key: clean[key] for key in sorted(clean)[:64]}


def _pruned(value: Json) -> Json:
    """Leave out what nobody set, all the way down."""
    if isinstance(value, dict):
        kept = {key: _pruned(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not None and item not in ({}, [], "")}
    if isinstance(value, list):
        kept_items = [_pruned(item) for item in value if item is not None]
        return [item for item in kept_items if item != {}]
    return value
