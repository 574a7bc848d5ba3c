"""From a job to ECS's two requests: the task definition, which many runs share, and the run itself.

Pure: equal jobs give equal requests. What is the same for every run of a deployment goes into the definition, whose
name carries a digest of its content, so that each is registered once; what differs goes into the run's overrides.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolform.core.runs.launchers import LaunchRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.runs.launchers import Job, Json

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
OVERRIDES_LIMIT = 8192
TOKEN_LIMIT = 64
# MiB that Fargate takes for each number of CPU units.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
SIZES: Mapping[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}
# Tags take letters, digits, spaces and these; everything else becomes a dash.
_NOT_IN_TAGS = re.compile(r"[^\w .:/=+@-]")
_ONCE = "once"


@dataclass(frozen=True)
class Definition:
    """A task definition: its family, and what RegisterTaskDefinition is asked."""

    family: str
    request: Mapping[str, Json]


def client_token(key: str) -> str:
    """Return the idempotency token for a job's key: the key itself where ECS can take it, else a digest of it."""
    if len(key) <= TOKEN_LIMIT and re.fullmatch(r"[\x21-\x7e]+", key):
        return key
    return hashlib.sha256(key.encode()).hexdigest()


def started_by(key: str) -> str:
    """Return the mark by which a job's task is found again."""
    mark = key.replace(".", "/")
    return mark if re.fullmatch(r"[A-Za-z0-9/_-]{1,128}", mark) else client_token(key)[:TOKEN_LIMIT].replace(".", "/")


def secret_folder(prefix: str, key: str) -> str:
    """Return the Parameter Store path that holds a job's own secrets."""
    return f"/{prefix}/{_digest(key)}"


def once_folder(prefix: str, family: str) -> str | None:
    """Return the path of the secrets that a definition reads; None for definitions that jobs share."""
    head = f"{prefix}-{_ONCE}-"
    return f"/{prefix}/{family.removeprefix(head)}" if family.startswith(head) else None


def define(job: Job, settings: Mapping[str, Json]) -> Definition:
    """Return the task definition for a job. Raises LaunchRefused for a size that Fargate does not have."""
    configuration = job.configuration
    body = dict(_pruned(configuration.get("task_definition") or {}))
    _check_size(body)
    body |= {
        "cpu": str(body["cpu"]),
        "memory": str(body["memory"]),
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "containerDefinitions": _containers(job, settings, body.get("containerDefinitions") or []),
    }
    body.setdefault("executionRoleArn", settings["execution_role_arn"])
    body.setdefault("taskRoleArn", settings["task_role_arn"])
    prefix, word = settings["prefix"], configuration.get("family")
    middle = f"-{re.sub(r'[^A-Za-z0-9_-]+', '-', word)[:64]}" if word else ""
    if job.secrets:
        family = f"{prefix}-{_ONCE}-{_digest(job.key)}"
    else:
        family = f"{prefix}{middle}-{_digest(json.dumps(body, sort_keys=True))}"
    return Definition(family, {**body, "family": family, "tags": _tags(settings["tags"])})


def run_request(job: Job, settings: Mapping[str, Json], definition: str) -> dict[str, Json]:
    """Return what RunTask is asked for a job with a registered definition. Raises LaunchRefused over ECS's limits."""
    configuration = job.configuration
    asked = dict(_pruned(configuration.get("task_run_request") or {}))
    mine: dict[str, Json] = {"name": configuration["container_name"]}
    if configuration.get("task_definition_arn"):
        mine |= {"command": list(job.command), "environment": _pairs(job.env)}
    else:
        mine |= {"environment": _pairs({k: v for k, v in job.env.items() if k not in _stable(job)})}
    overrides = {"containerOverrides": [mine, *asked.pop("overrides", {}).get("containerOverrides", [])]}
    size = len(json.dumps(overrides, separators=(",", ":")))
    if size > OVERRIDES_LIMIT:
        raise LaunchRefused(
            f"what is particular to this run (its parameters, mostly) takes {size:,} characters, and ECS takes at most "
            f"{OVERRIDES_LIMIT:,}; pass large values by reference, such as a file in S3"
        )
    return {
        **asked,
        "cluster": asked.get("cluster") or settings["cluster_arn"],
        "taskDefinition": definition,
        "count": 1,
        "clientToken": client_token(job.key),
        "startedBy": started_by(job.key),
        "overrides": overrides,
        "networkConfiguration": _network(asked, settings),
        "tags": _tags({**settings["tags"], **job.labels}),
        **_capacity(asked, configuration),
    }


def log_stream(container: Mapping[str, Json], task_arn: str) -> tuple[str, str] | None:
    """Return the log group and stream of a container definition's output; None where it goes elsewhere."""
    options = (container.get("logConfiguration") or {}).get("options") or {}
    if "awslogs-group" not in options or "awslogs-stream-prefix" not in options:
        return None
    task = task_arn.rsplit("/", 1)[-1]
    return options["awslogs-group"], f"{options['awslogs-stream-prefix']}/{container['name']}/{task}"


def _containers(job: Job, settings: Mapping[str, Json], given: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """Return the container definitions: the job's own first, then whatever a platform team put beside it."""
    configuration = job.configuration
    name = configuration["container_name"]
    own = next((container for container in given if container.get("name") == name), {"name": name})
    secrets = dict(configuration.get("secret_arns") or {})
    secrets |= {key: _parameter_arn(job, settings, key) for key in job.secrets}
    own = {
        "essential": True,
        **own,
        "command": list(job.command),
        "environment": _pairs({**{e["name"]: e["value"] for e in own.get("environment", ())}, **_stable(job)}),
        "secrets": [{"name": key, "valueFrom": secrets[key]} for key in sorted(secrets)],
    }
    if configuration.get("configure_cloudwatch_logs") is not False:
        options = {
            "awslogs-group": settings["log_group"],
            "awslogs-region": settings["region"],
            "awslogs-stream-prefix": configuration.get("cloudwatch_logs_prefix") or "flow",
            **(configuration.get("cloudwatch_logs_options") or {}),
        }
        own["logConfiguration"] = {"logDriver": "awslogs", "options": options}
    return [own, *(container for container in given if container.get("name") != name)]


def _stable(job: Job) -> dict[str, str]:
    """Return the environment that the job shares with other runs: what job variables said, and nobody overrode."""
    said = job.configuration.get("env") or {}
    return {key: value for key, value in job.env.items() if said.get(key) == value}


def _parameter_arn(job: Job, settings: Mapping[str, Json], name: str) -> str:
    region, account = settings["region"], settings["account"]
    partition = settings["cluster_arn"].split(":")[1]
    return f"arn:{partition}:ssm:{region}:{account}:parameter{secret_folder(settings['prefix'], job.key)}/{name}"


def _network(asked: Mapping[str, Json], settings: Mapping[str, Json]) -> dict[str, Json]:
    given = (asked.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    pool = {
        "subnets": settings["subnet_ids"],
        "securityGroups": settings["security_group_ids"],
        "assignPublicIp": "ENABLED" if settings["assign_public_ip"] else "DISABLED",
    }
    return {"awsvpcConfiguration": {**pool, **given}}


def _capacity(asked: Mapping[str, Json], configuration: Mapping[str, Json]) -> dict[str, Json]:
    if asked.get("capacityProviderStrategy"):
        return {}
    if configuration.get("launch_type") == "FARGATE_SPOT":
        return {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]}
    return {"launchType": "FARGATE"}


def _check_size(body: Mapping[str, Json]) -> None:
    cpu, memory = int(body.get("cpu") or 256), int(body.get("memory") or 512)
    if cpu not in SIZES:
        known = ", ".join(map(str, SIZES))
        raise LaunchRefused(f"Fargate has no tasks with {cpu} CPU units; it has {known}")
    if memory not in SIZES[cpu]:
        known = ", ".join(map(str, SIZES[cpu]))
        raise LaunchRefused(
            f"Fargate has no tasks with {cpu} CPU units and {memory} MiB of memory; with {cpu}, {known}"
        )


def _pruned(value: Json) -> Json:
    """Leave out what nobody set, all the way down: ECS takes no nulls and no empty shells."""
    if isinstance(value, dict):
        kept = {key: _pruned(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not None and item not in ({}, [], "")}
    if isinstance(value, list):
        return [_pruned(item) for item in value if item is not None]
    return value


def _pairs(env: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": env[name]} for name in sorted(env)]


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    clean = {_NOT_IN_TAGS.sub("-", key)[:128]: _NOT_IN_TAGS.sub("-", str(value))[:256] for key, value in tags.items()}
    return [{"key": key, "value": clean[key]} for key in sorted(clean)][:50]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
