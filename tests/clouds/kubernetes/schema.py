"""What the API takes and what it refuses: fields and types as the official client's models have them, and values."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from clouds.kubernetes.wire import ApiError, invalid

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?", re.ASCII)
_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_FACTOR = {"m": 1e-3, "k": 1e3, **{unit: 1e3 ** (n + 2) for n, unit in enumerate("MGTPE")},
           **{f"{unit}i": 1024.0 ** (n + 1) for n, unit in enumerate("KMGTPE")}}  # fmt: skip
OBJECT_LIMIT = 1_572_864  # what etcd takes
SECRET_LIMIT = 1_048_576


def quantity(text: Any) -> float:
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(text)
    return float(match[1]) * _FACTOR.get(match[2] or "", 1.0)


def check_fields(kind: str, value: Any, *, strict: bool) -> None:
    """Refuse a type that does not fit, and (strict) fields that there are not."""
    unknown: list[str] = []
    _walk(kind, value, "", unknown)
    if unknown and strict:
        said = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise ApiError(400, "BadRequest", f'{kind[2:]} in version "v1" cannot be handled as a {kind[2:]}: '
                       f"strict decoding error: {said}")  # fmt: skip


def _walk(kind: str, value: Any, path: str, unknown: list[str]) -> None:
    import kubernetes.client

    listed, mapped = re.fullmatch(r"[Ll]ist\[(.+)\]", kind), re.fullmatch(r"[Dd]ict[(\[]str, (.+)[)\]]", kind)
    model = getattr(kubernetes.client, kind, None)
    if value is None or kind in ("object", "datetime"):
        return
    if listed:
        _expect(isinstance(value, list), kind, path)
        for index, item in enumerate(value):
            _walk(listed[1], item, f"{path}[{index}]", unknown)
    elif mapped:
        _expect(isinstance(value, dict), kind, path)
        for key, item in value.items():
            _walk("object" if ".resources." in f"{path}." else mapped[1], item, f"{path}.{key}", unknown)
    elif hasattr(model, "attribute_map"):
        _expect(isinstance(value, dict), kind, path)
        names = {name: attribute for attribute, name in model.attribute_map.items()}
        for key, item in value.items():
            where = f"{path}.{key}".lstrip(".")
            if key not in names:
                unknown.append(where)
            else:
                _walk(model.openapi_types[names[key]], item, where, unknown)
    else:
        expected = {"int": int, "bool": bool, "float": (int, float)}.get(kind, str)  # bytes are base64
        _expect(isinstance(value, expected) and not (kind == "int" and isinstance(value, bool)), kind, path)


def _expect(fits: object, kind: str, path: str) -> None:
    if not fits:
        raise ApiError(400, "BadRequest", f"json: cannot unmarshal into Go struct field {path} of type {kind}")


def check_metadata(kind: str, body: dict[str, Any], namespace: str) -> None:
    metadata = body.get("metadata") or {}
    name = metadata.get("name")
    if not name:
        raise invalid(kind, "", "metadata.name: Required value: name or generateName is required")
    if not SUBDOMAIN.fullmatch(name) or (kind == "Job" and not LABEL.fullmatch(name)):
        raise invalid(kind, name, f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist'
                      " of lower case alphanumeric characters, '-' or '.'")  # fmt: skip
    if metadata.get("namespace") not in (None, namespace):
        raise ApiError(400, "BadRequest", "the namespace of the provided object does not match the namespace sent")
    check_labels(kind, name, metadata.get("labels"), "metadata.labels")
    for key in metadata.get("annotations") or {}:
        if not _KEY.fullmatch(key):
            raise invalid(kind, name, f'metadata.annotations: Invalid value: "{key}"')


def check_labels(kind: str, name: str, labels: dict[str, str] | None, path: str) -> None:
    for key, value in (labels or {}).items():
        if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
            raise invalid(kind, name, f'{path}: Invalid value: "{value}": a valid label must be an empty string or '
                          "consist of alphanumeric characters, '-', '_' or '.'")  # fmt: skip


def check_job(body: dict[str, Any]) -> None:
    name, spec = body["metadata"]["name"], body.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    problems = []
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        problems.append('spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"')
    containers = pod.get("containers") or []
    if not containers:
        problems.append("spec.template.spec.containers: Required value")
    for number, container in enumerate(containers):
        problems += _container_problems(container, f"spec.template.spec.containers[{number}]")
    for field in ("backoffLimit", "completions", "parallelism", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        if isinstance(spec.get(field), int) and spec[field] < 0:
            problems.append(f"spec.{field}: Invalid value: {spec[field]}: must be greater than or equal to 0")
    if problems:
        raise invalid("Job.batch", name, *problems)
    check_labels("Job.batch", name, (spec["template"].get("metadata") or {}).get("labels"),
                 "spec.template.metadata.labels")  # fmt: skip


def _container_problems(container: dict[str, Any], path: str) -> list[str]:
    problems = []
    if not LABEL.fullmatch(container.get("name") or ""):
        problems.append(f'{path}.name: Invalid value: "{container.get("name")}"')
    if not (container.get("image") or "").strip():
        problems.append(f"{path}.image: Required value")
    for variable in container.get("env") or ():
        if not variable.get("name") or "=" in variable["name"] or not variable["name"].isascii():
            problems.append(f'{path}.env[].name: Invalid value: "{variable.get("name")}"')
        if "value" in variable and variable["value"] and "valueFrom" in variable:
            problems.append(f"{path}.env[].valueFrom: may not be specified when `value` is not empty")
    amounts: dict[str, dict[str, float]] = {}
    for half, given in (container.get("resources") or {}).items():
        for what, text in given.items():
            try:
                amounts.setdefault(what, {})[half] = quantity(text)
            except ValueError:
                raise ApiError(400, "BadRequest", "quantities must match the regular expression "
                               "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'") from None  # fmt: skip
    for what, both in amounts.items():
        if both.get("requests", 0) > both.get("limits", float("inf")):
            problems.append(f"{path}.resources.requests: Invalid value: must be less than or equal to {what} limit")
    return problems


def check_secret(body: dict[str, Any]) -> None:
    name, total = body["metadata"]["name"], 0
    for key, value in (body.get("data") or {}).items():
        if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key):
            raise invalid("Secret", name, f'data[{key}]: Invalid value: "{key}": a valid config key')
        try:
            total += len(base64.b64decode(value, validate=True))
        except binascii.Error as exc:
            raise ApiError(400, "BadRequest", f"illegal base64 data: {exc}") from exc
    if total > SECRET_LIMIT:
        raise invalid("Secret", name, f"data: Too long: may not be more than {SECRET_LIMIT} bytes")
