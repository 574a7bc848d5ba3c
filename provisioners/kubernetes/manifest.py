"""From a job to the Job that Kubernetes is asked for, and the Secret beside it.

Pure: equal jobs give equal requests.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from poolform.core.runs.launchers import LaunchRefused
from poolform.provisioners.kubernetes.orphans import LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.runs.launchers import Job, Json

OBJECT_LIMIT = 1_400_000
"""Bytes. etcd takes 1.5 MiB (https://etcd.io/docs/v3.5/dev-guide/limit/), and the cluster adds to what it is sent."""
STRING_LIMIT = 131_071
"""Bytes that Linux takes in one argument, or one variable with its name: MAX_ARG_STRLEN less the final zero."""
SECRET_LIMIT = 1_048_576
"""Bytes: https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size"""
SHORTEST_TTL = 86_400
"""Seconds. A Job that Kubernetes removed before anybody looked would seem never to have been launched."""
NAME_LIMIT = 57
"""Characters that leave room for what Kubernetes adds to a pod's name."""

KEY = "poolform-key"
JOB = "poolform-job"
CANCELLED = "poolform-cancelled"
PATIENCE = "poolform-pod-watch-timeout-seconds"
_DEFAULT_PATIENCE = 300
_NOT_IN_VALUES = re.compile(r"[^A-Za-z0-9_.-]+")
_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9_./-]+")
_SMALLER = "pass large parameters by reference, such as a file in a bucket"
_MISPLACED = ("completions", "parallelism")
"""Prefect's template has these in the pod's spec, where Kubernetes has nothing of the name."""


def job_name(key: str) -> str:
    """Return the name of the Job for a job's key, the same each time: the run's id and its attempt."""
    name = f"run-{key.replace('.', '-')}"
    if len(name) <= NAME_LIMIT and re.fullmatch(r"[a-z0-9-]+\.\d+", key):
        return name
    return f"run-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def manifest(job: Job, settings: Mapping[str, Json]) -> dict[str, Any]:
    """Return the Job for a job. Raises LaunchRefused for what Kubernetes, or the pool's launcher, could not do."""
    configuration = job.configuration
    made: dict[str, Any] = _pruned(copy.deepcopy(dict(configuration.get("job_manifest") or {})))
    metadata, spec = made.setdefault("metadata", {}), made.setdefault("spec", {})
    _check_namespace(configuration, metadata, settings)
    name = job_name(job.key)
    labels = _labels({**_texts(settings.get("labels")), **_texts(metadata.get("labels")), **job.labels})
    labels |= {LABEL: settings["pool_id"], JOB: name}
    patience = configuration.get("pod_watch_timeout_seconds") or _DEFAULT_PATIENCE
    metadata.pop("generateName", None)
    metadata |= {
        "name": name,
        "namespace": settings["namespace"],
        "labels": labels,
        "annotations": {**_texts(metadata.get("annotations")), KEY: job.key, PATIENCE: str(patience)},
    }
    if spec.get("ttlSecondsAfterFinished") is not None:
        spec["ttlSecondsAfterFinished"] = max(int(spec["ttlSecondsAfterFinished"]), SHORTEST_TTL)
    _once(spec)
    template = spec.setdefault("template", {})
    template["metadata"] = {**template.get("metadata", {})}
    template["metadata"]["labels"] = {**_texts(template["metadata"].get("labels")), **labels}
    pod = template.setdefault("spec", {})
    _run_once(pod)
    pod.setdefault("serviceAccountName", settings["service_account"])
    _fill(_own_container(pod), job, name)
    made |= {"apiVersion": "batch/v1", "kind": "Job"}
    _check_sizes(job, made)
    return made


def secret(job: Job, settings: Mapping[str, Json]) -> dict[str, Any]:
    """Return the Secret of a job that has some. It is under the Job's name."""
    name = job_name(job.key)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "namespace": settings["namespace"],
            "labels": {**_texts(settings.get("labels")), LABEL: settings["pool_id"], JOB: name},
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in job.secrets.items()},
    }


def owned_by(made: Mapping[str, Json]) -> dict[str, Any]:
    """Return the change that lets a Secret go with its Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": made["metadata"]["name"], "uid": made["metadata"]["uid"]}
    return {"metadata": {"ownerReferences": [owner]}}


def _fill(container: dict[str, Any], job: Job, name: str) -> None:
    """Put command and environment into the job's container; the image's own entrypoint stays in front."""
    given = container.get("env")
    fixed = {item["name"]: item for item in given if "name" in item} if isinstance(given, list) else {}
    said = {key: {"name": key, "value": literal(value)} for key, value in job.env.items()}
    kept = {key: {"name": key, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}} for key in job.secrets}
    env = {**fixed, **said, **kept}
    container["args"] = [literal(word) for word in job.command]
    container["env"] = [env[key] for key in sorted(env)]


def literal(text: str) -> str:
    """Return what Kubernetes makes this text of: it replaces $(NAME), and reads two dollar signs as one.

    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """
    return text.replace("$", "$$")


def _check_namespace(configuration: Mapping[str, Json], metadata: Mapping[str, Json], settings: Any) -> None:
    for asked in (configuration.get("namespace"), metadata.get("namespace")):
        if asked and asked != settings["namespace"]:
            raise LaunchRefused(
                f"this pool runs jobs in the namespace {settings['namespace']} and in no other; {asked} was asked for"
            )


def _once(spec: dict[str, Any]) -> None:
    """Refuse a Job that would start its process more than once: retries are the flow's own."""
    for name, expected in (("backoffLimit", 0), ("completions", 1), ("parallelism", 1)):
        if spec.setdefault(name, expected) != expected:
            raise LaunchRefused(
                f"the manifest's {name} is {spec[name]}, and a run is started exactly once; let the flow retry instead"
            )


def _run_once(pod: dict[str, Any]) -> None:
    for name in _MISPLACED:
        pod.pop(name, None)
    if pod.setdefault("restartPolicy", "Never") != "Never":
        raise LaunchRefused(
            f"the manifest's restartPolicy is {pod['restartPolicy']}; a run is started once, so it must be Never"
        )


def _own_container(pod: Mapping[str, Json]) -> dict[str, Any]:
    """Return the job's container: the first."""
    containers = pod.get("containers")
    if not containers or not isinstance(containers[0], dict):
        raise LaunchRefused("the manifest has no container to run the job in")
    first: dict[str, Any] = containers[0]
    first.setdefault("name", "flow")
    return first


def _check_sizes(job: Job, made: Mapping[str, Json]) -> None:
    size = len(json.dumps(made, ensure_ascii=False).encode())
    if size > OBJECT_LIMIT:
        raise LaunchRefused(
            f"the Job takes {size:,} bytes, and Kubernetes keeps at most {OBJECT_LIMIT:,} of one; {_SMALLER}"
        )
    strings = [("an argument of the command", word) for word in job.command]
    strings += [(f"the variable {name}", f"{name}={value}") for name, value in job.env.items()]
    strings += [(f"the secret {name}", f"{name}={value}") for name, value in job.secrets.items()]
    for what, text in strings:
        if (length := len(text.encode(errors="surrogateescape"))) > STRING_LIMIT:
            raise LaunchRefused(
                f"{what} takes {length:,} bytes, and Linux passes at most {STRING_LIMIT:,} in one; {_SMALLER}"
            )
    total = sum(len(value.encode()) for value in job.secrets.values())
    if total > SECRET_LIMIT:
        raise LaunchRefused(f"the job's secrets take {total:,} bytes, and Kubernetes keeps at most {SECRET_LIMIT:,}")


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels as Kubernetes takes them: at most 63 of letters, digits, - _ . that begin and end with one."""
    made = {}
    for key, value in labels.items():
        domain, _, word = _NOT_IN_KEYS.sub("-", key).strip("-_./").rpartition("/")
        short = word[:63].strip("-_.")
        if short:
            made[f"{domain.lower()}/{short}" if domain else short] = _NOT_IN_VALUES.sub("-", value)[:63].strip("-_.")
    return made


def _texts(value: Json) -> dict[str, str]:
    """Return a mapping of texts, empty for anything else: a template's own may be a placeholder that nobody filled."""
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _pruned(value: Json) -> Json:
    """Leave out what nobody set, all the way down; something empty stays, as in `emptyDir: {}`."""
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_pruned(item) for item in value if item is not None]
    return value
