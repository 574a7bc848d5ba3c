"""From a pool's base job template and everybody's job variables to a job.

A base job template is Prefect's: `{"job_configuration": …, "variables": <JSON Schema>}`. A string of the
configuration that is nothing but `{{ name }}` becomes the variable's value with its type; a placeholder within other
text becomes text. A variable that nobody has set, or whose default is null, takes its key along; one that somebody set
to null stays, as null. But a key of the configuration itself that bears its variable's name stays, as null: so it is
to Prefect's workers, who read it with None as its default, and a launcher need not fear that it is not there.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from poolform.core.errors import InvalidValues, NotFound, UsageError, nearest
from poolform.core.runs import schemas
from poolform.core.runs.launchers import Job

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from poolform.core.pools.contract import PoolType
    from poolform.core.runs.launchers import Json
    from poolform.core.store.deployments import Deployment
    from poolform.core.store.pools import WorkPool
    from poolform.core.store.runs import FlowRun

_PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_NAME = re.compile(r"\w+(\.\w+)*")
_MERGED = ("env", "labels")
"""Variables of which everybody sets some keys; all others are replaced as a whole."""
_ABSENT: Any = object()


def base_job_template(pool_type: PoolType | type[PoolType]) -> dict[str, Json]:
    """Return the template that pools of this type start with."""
    variables = pool_type.job_variables.model_json_schema()
    for unneeded in ("title", "description"):
        variables.pop(unneeded, None)
    for variable in variables.get("properties", {}).values():
        variable.pop("title", None)
    configuration = pool_type.job_configuration
    if configuration is None:
        configuration = {name: f"{{{{ {name} }}}}" for name in variables.get("properties", {})}
    return {"job_configuration": dict(configuration), "variables": variables}


def with_defaults(template: Mapping[str, Json], defaults: Mapping[str, Json]) -> dict[str, Json]:
    """Return a template whose variables have these defaults; a variable that a platform team took out stays out."""
    variables = template["variables"]
    properties = {
        name: {**variable, "default": defaults[name]} if name in defaults else variable
        for name, variable in variables.get("properties", {}).items()
    }
    required = [name for name in variables.get("required", ()) if name not in defaults]
    changed = {**variables, "properties": properties, "required": required}
    if not required:
        del changed["required"]
    return {**template, "variables": changed}


def load_template(path: Path) -> dict[str, Json]:
    """Read a template from a JSON file, such as Prefect exports. Raises UsageError, and what `check_template` does."""
    try:
        template = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"The base job template {path} cannot be read: {exc.strerror}.") from exc
    except ValueError as exc:
        raise UsageError(f"The base job template {path} is not JSON: {exc}.") from exc
    check_template(template)
    return dict(template)


def check_template(template: Json) -> None:
    """Refuse a template that could not be filled in when a run needs it. Raises InvalidValues naming what is wrong."""
    found = list(_template_problems(template))
    if found:
        raise InvalidValues(
            "The base job template is not usable:",
            found,
            hint="`poolform work-pool get-default-base-job-template --type TYPE` prints one to start from.",
        )


def check_job_variables(pool: WorkPool, *overrides: Mapping[str, Json], complete: bool = False) -> None:
    """Refuse job variables of a deployment, or of its run on top of them, that the pool does not take.

    Unless they are to be `complete`, required ones may still be missing: the pool fills them in when it is provisioned,
    or a run does. Raises InvalidValues naming each that does not fit.
    """
    values, found = _settle(pool.base_job_template, *overrides)
    if not complete:
        found = [problem for problem in found if not problem.endswith("is required and missing.")]
    if not found and (command := values.get("command")) is not None:
        found = [problem for problem in [_command_problem(command)] if problem]
    if found:
        raise _misfit(found, pool.name)


def resolve(template: Mapping[str, Json], *overrides: Mapping[str, Json]) -> dict[str, Json]:
    """Return the job configuration with all placeholders filled in; later overrides win, env and labels are merged.

    Raises InvalidValues naming each variable that does not fit.
    """
    return _resolved(template, *overrides)[1]


def build_job(pool: WorkPool, deployment: Deployment | None, run: FlowRun, *, runtime: Sequence[str]) -> Job:
    """Return the job of a run's present attempt: what a launcher is given, and what is stored to replay it.

    `runtime` is the command that starts the runtime on the pool's platform; the job variable `command` wins over it.
    Raises NotFound when the deployment is gone, InvalidValues when the job variables do not fit the pool's template as
    it is now.
    """
    if deployment is None:
        raise NotFound("The run's deployment was deleted, and with it the knowledge of where its code is.")
    overrides = (deployment.job_variables, run.job_variables)
    variables, configuration = _resolved(pool.base_job_template, *overrides, pool=pool.name)

    def setting(name: str) -> Json:
        """Where the configuration says it plainly (a platform team has fixed it), that; else the variable's value."""
        return configuration[name] if name in configuration else variables.get(name)

    env = {name: _text(value) for name, value in (setting("env") or {}).items() if value is not None}
    labels = {name: _text(value) for name, value in (setting("labels") or {}).items()}
    return Job(
        key=run.key,
        name=setting("name") or run.name,
        command=_command(setting("command"), pool.name) or tuple(runtime),
        configuration=configuration,
        env={**env, **_run_env(deployment, run)},
        labels={**labels, **_run_labels(pool, deployment, run)},
    )


def _run_env(deployment: Deployment, run: FlowRun) -> dict[str, str]:
    """Return what the runtime reads; see poolform.runtime."""
    parameters = {**deployment.parameters, **run.parameters}
    env = {
        "POOLFORM_RUN_ID": run.id,
        "POOLFORM_ATTEMPT": str(run.attempt),
        "POOLFORM_FLOW_NAME": run.flow_name,
        "POOLFORM_ENTRYPOINT": deployment.entrypoint,
        "POOLFORM_PARAMETERS": _compact(parameters),
    }
    if deployment.source:
        env["POOLFORM_SOURCE"] = _compact(deployment.source)
    if run.timeout_seconds is not None:
        env["POOLFORM_TIMEOUT_SECONDS"] = f"{run.timeout_seconds:g}"
    return env


def _run_labels(pool: WorkPool, deployment: Deployment, run: FlowRun) -> dict[str, str]:
    return {
        "poolform-pool": pool.name,
        "poolform-pool-id": pool.id,
        "poolform-deployment": deployment.full_name,
        "poolform-run-id": run.id,
    }


def _text(value: Json) -> str:
    """Return a value of an environment, which a template may fill in from a variable of any type."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _compact(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half a character (a lone surrogate) is good JSON but only when escaped, and no environment takes it otherwise.
    return text if text.isascii() or text.encode("utf-8", "replace").decode() == text else json.dumps(value)


def _command(value: Json, pool: str) -> tuple[str, ...]:
    if not value:
        return ()
    if problem := _command_problem(value):
        raise _misfit([problem], pool)
    return tuple(shlex.split(value) if isinstance(value, str) else map(str, value))


def _command_problem(command: Json) -> str | None:
    try:
        if isinstance(command, str):
            shlex.split(command)
    except ValueError as exc:
        return f"command: {schemas.shown(command)} cannot be split into words: {str(exc).lower()}."
    return None


def _misfit(problems: Sequence[str], pool: str | None = None) -> InvalidValues:
    hint = f"See what the pool takes: poolform work-pool inspect {pool}" if pool else None
    return InvalidValues("The job variables do not fit the work pool:", problems, hint=hint)


def _resolved(
    template: Mapping[str, Json], *overrides: Mapping[str, Json], pool: str | None = None
) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return the variables as settled, and the configuration made of them."""
    values, found = _settle(template, *overrides)
    if found:
        raise _misfit(found, pool)
    configuration = template["job_configuration"]
    unset = {key: None for key, value in configuration.items() if _is_own_placeholder(key, value)}
    return values, {**unset, **_fill(configuration, values)}


def _settle(template: Mapping[str, Json], *overrides: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
    """Return defaults and overrides laid over each other, and what is wrong with them."""
    schema = template["variables"]
    properties = schema.get("properties", {})
    values = {name: variable["default"] for name, variable in properties.items() if variable.get("default") is not None}
    for override in overrides:
        for name, value in override.items():
            both = name in _MERGED and isinstance(value, dict) and isinstance(values.get(name), dict)
            values[name] = {**values[name], **value} if both else value
    if not any(overrides) and all(name in values for name in schema.get("required", ())):
        return values, []  # nothing but defaults, which were checked when the template was saved
    # Prefect's templates say nothing of other variables and mean none: one that nothing uses is a mistake.
    return values, schemas.problems({"additionalProperties": False, **schema}, values, noun="job variable")


def _is_own_placeholder(key: str, value: Json) -> bool:
    """Say whether a key of the configuration stands for the job variable of the same name, and for nothing else."""
    placeholder = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return placeholder is not None and placeholder[1] == key


def _fill(template: Json, values: Mapping[str, Json]) -> Json:
    if isinstance(template, str):
        return _fill_text(template, values)
    if isinstance(template, dict):
        filled = {key: _fill(value, values) for key, value in template.items()}
        return {key: value for key, value in filled.items() if value is not _ABSENT}
    if isinstance(template, list):
        return [value for value in (_fill(item, values) for item in template) if value is not _ABSENT]
    return template


def _fill_text(text: str, values: Mapping[str, Json]) -> Json:
    whole = _PLACEHOLDER.fullmatch(text)
    if whole and "{{" not in whole[1]:
        return _look_up(values, whole[1])

    def as_text(match: re.Match[str]) -> str:
        value = _look_up(values, match[1])
        return "" if value is _ABSENT else str(value)

    return _PLACEHOLDER.sub(as_text, text)


def _look_up(values: Mapping[str, Json], path: str) -> Json:
    """Return the value at `a.b.c`, or _ABSENT."""
    found: Json = values
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return _ABSENT
        found = found[name]
    return found


def _template_problems(template: Json) -> Iterator[str]:
    if not isinstance(template, dict):
        yield f"it is {schemas.shown(template)}, not an object with job_configuration and variables."
        return
    for key in ("job_configuration", "variables"):
        if not isinstance(template.get(key), dict):
            yield f"{key}: it is required and an object."
    for key in sorted(set(template) - {"job_configuration", "variables"}):
        yield f"{key}: a template has job_configuration and variables only."
    variables, configuration = template.get("variables"), template.get("job_configuration")
    if not isinstance(variables, dict) or not isinstance(configuration, dict):
        return
    if problem := schemas.check(variables):
        yield f"variables is not a JSON Schema: {problem}"
        return
    known = variables.get("properties", {})
    defaults = {name: variable["default"] for name, variable in known.items() if variable.get("default") is not None}
    for problem in schemas.problems({**variables, "required": []}, defaults, noun="job variable"):
        yield f"variables.properties: default of {problem}"
    for path, name in _placeholders(configuration, "job_configuration"):
        if not _NAME.fullmatch(name):
            yield f"{path}: {{{{ {name} }}}} is not the name of a variable; other placeholders are not supported."
        elif name.partition(".")[0] not in known:
            yield f"{path}: uses the variable {name}, which variables does not have. {nearest(name, known)}"


def _placeholders(template: Json, path: str) -> Iterator[tuple[str, str]]:
    """Return where each placeholder is, and what it says."""
    if isinstance(template, str):
        yield from ((path, match[1]) for match in _PLACEHOLDER.finditer(template))
    elif isinstance(template, dict):
        for key, value in template.items():
            yield from _placeholders(value, f"{path}.{key}")
    elif isinstance(template, list):
        for index, value in enumerate(template):
            yield from _placeholders(value, f"{path}.{index}")
