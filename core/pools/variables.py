"""Variables: gathered from files, assignments and the environment, validated before anything is touched.

Later ones win: what is stored with the pool or found in the environment, then --vars FILE, then --set KEY=VALUE.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from poolform.core.errors import InvalidValues, UsageError, in_words, nearest
from poolform.core.pools.contract import Suggests
from poolform.core.runs.positions import no_yaml
from poolform.core.terraform import hcl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from poolform.core.pools.contract import PoolType, Variables
    from poolform.core.runs.launchers import Json


_TYPED = ("--set", "your answer")
_WRITTEN = {"dict_type": '{"key": "value"}', "list_type": '["one", "two"]', "set_type": '["one", "two"]'}
"""How to write what pydantic misses, by its type of error."""
_SHOWN = 12  # values to choose from that fit into a question


@dataclass(frozen=True)
class Given:
    """A value and where it was given, for people: "--set", "pool.yaml line 3", "the environment"."""

    value: Json
    where: str


def from_file(path: Path) -> dict[str, Given]:
    """Read a JSON, YAML or TOML file of variables. Raises UsageError with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"The variables file {path} cannot be read: {reason}.") from exc
    readers = {".toml": _from_toml, ".json": _from_json}
    return readers.get(path.suffix, _from_yaml)(path, text)


def from_assignments(assignments: Iterable[str], model: type[Variables]) -> dict[str, Given]:
    """Read KEY=VALUE pairs. A value is JSON where its variable is not text and it parses as such, else it is text."""
    given: dict[str, Given] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {assignment!r} is not of the form KEY=VALUE.")
        given[name] = Given(text if _is_text(model, name) else _parsed(text), "--set")
    return given


def gather(pool_type: PoolType, *layers: Mapping[str, Given]) -> dict[str, Given]:
    """Lay the given values over each other and over what the environment offers; keep unknown names, to be named."""
    found = {name: Given(value, "the environment") for name, value in pool_type.discover().items()}
    merged: dict[str, Given] = {}
    for layer in (found, *layers):
        merged |= layer
    return merged


def missing(pool_type: PoolType, given: Mapping[str, Given]) -> list[str]:
    """Return the names of required variables that nobody gave, in the model's order."""
    fields = pool_type.variables.model_fields
    return [name for name, field in fields.items() if field.is_required() and name not in given]


def validate(pool_type: PoolType, given: Mapping[str, Given]) -> Variables:
    """Return the variables as their model. Raises InvalidValues naming each variable, its place and its problem."""
    model = pool_type.variables
    try:
        return model.model_validate({name: item.value for name, item in given.items()})
    except ValidationError as exc:
        hints = _choices(pool_type, [str(e["loc"][0]) for e in exc.errors() if e["type"] == "missing" and e["loc"]])
        raise InvalidValues(
            f"The variables do not fit the pool type {pool_type.slug}:",
            problems(exc, model, given),
            hint=f"{hints}Set them with --set KEY=VALUE or in a file with --vars FILE; "
            f"`poolform work-pool types {pool_type.slug}` describes them.",
        ) from exc


def problems(exc: ValidationError, model: type[Variables], given: Mapping[str, Given] | None = None) -> list[str]:
    """Return what does not fit a model, a sentence each: the variable, where it was given, what is wrong with it."""
    return [_problem(error, model, given or {}) for error in exc.errors()]


def ask(name: str, pool_type: PoolType, prompt: Callable[[str], str]) -> Given:
    """Ask a person for one variable; `prompt` is given a question and returns the answer."""
    field = pool_type.variables.model_fields[name]
    description = f" ({field.description.rstrip('.')})" if field.description else ""
    admitted = _admitted(pool_type.variables, name)
    known = admitted or suggestions(pool_type, name)
    told = f", {'one of' if admitted else 'such as'} {_listed(known)}" if known else ""
    answer = prompt(f"{name}{description}{told}")
    return Given(answer if _is_text(pool_type.variables, name) else _parsed(answer), "your answer")


def suggestions(pool_type: PoolType, name: str) -> Sequence[str]:
    """Return values that a required variable could have, where its model or the pool type knows some."""
    admitted = _admitted(pool_type.variables, name)
    return admitted or (pool_type.suggestions(name) if isinstance(pool_type, Suggests) else ())


def _admitted(model: type[Variables], name: str) -> Sequence[str]:
    """Return all that a variable can be, where that is a choice."""
    schema = model.model_json_schema()
    values = hcl.allowed(schema.get("properties", {}).get(name, {}), schema.get("$defs", {}))
    return [str(value) for value in values or ()]


def _choices(pool_type: PoolType, names: Sequence[str]) -> str:
    """Say what is known of variables that nobody gave."""
    known = {name: suggestions(pool_type, name) for name in names}
    return "".join(f"Known for {name}: {_listed(values)}. " for name, values in known.items() if values)


def _listed(values: Sequence[str]) -> str:
    more = len(values) - _SHOWN
    return ", ".join(values[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _problem(error: Any, model: type[Variables], given: Mapping[str, Given]) -> str:
    if not error["loc"]:  # a validator of the whole model
        text = in_words(error)
        is_a_name = "_" in text.partition(" ")[0]  # a variable's, and no word to begin a sentence with
        return f"{text if is_a_name else text[:1].upper() + text[1:]}."
    name, *rest = map(str, error["loc"])
    where = f" ({given[name].where})" if name in given else ""
    path = ".".join((name, *rest))
    if error["type"] == "extra_forbidden" and not rest:
        return f"{path}{where}: there is no such variable. {nearest(name, model.model_fields)}"
    if error["type"] == "missing" and not rest:
        return f"{path}: it is required and was not given."
    meant = _meaning(model, name) if error["type"] == "string_pattern_mismatch" else ""
    got = json.dumps(error["input"], default=str, ensure_ascii=False)[:80]
    typed = name in given and given[name].where in _TYPED and not rest and isinstance(error["input"], str)
    example = _WRITTEN.get(error["type"]) if typed else None
    return f"{path}{where}: {in_words(error)}{meant}, got {got}.{f' Write JSON: {name}={example}' if example else ''}"


def _meaning(model: type[Variables], name: str) -> str:
    """Return what a variable is, to follow on that it does not look like it."""
    field = model.model_fields.get(name)
    return f" ({field.description.rstrip('.')})" if field is not None and field.description else ""


def _is_text(model: type[Variables], name: str) -> bool:
    schema = model.model_json_schema()
    field = schema.get("properties", {}).get(name)
    if field is None:
        return True
    options: Sequence[Mapping[str, Json]] = [field, *field.get("anyOf", ())]
    resolved = [schema.get("$defs", {}).get(o["$ref"].rsplit("/", 1)[-1], o) if "$ref" in o else o for o in options]
    return any(option.get("type") == "string" for option in resolved)


def _parsed(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _from_json(path: Path, text: str) -> dict[str, Given]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as exc:
        raise UsageError(f"{path} line {exc.lineno}: this is not JSON: {exc.msg[:1].lower()}{exc.msg[1:]}.") from exc
    except (ValueError, RecursionError) as exc:
        raise no_yaml(str(path), exc) from exc
    return _given(path, text, values)


def _from_yaml(path: Path, text: str) -> dict[str, Given]:
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise no_yaml(str(path), exc) from exc
    return _given(path, text, {} if values is None else values)


def _given(path: Path, text: str, values: Json) -> dict[str, Given]:
    if not isinstance(values, dict):
        raise UsageError(f"{path} line 1: variables are a mapping of names to values.")
    lines = _lines(text)
    return {
        str(name): Given(value, f"{path} line {lines[str(name)]}" if str(name) in lines else str(path))
        for name, value in values.items()
    }


def _lines(text: str) -> dict[str, int]:
    """Return the line of each top-level key; JSON is read as the YAML that it nearly always is."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return {}
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return {str(key.value): key.start_mark.line + 1 for key, _ in pairs}


def _from_toml(path: Path, text: str) -> dict[str, Given]:
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{path}: {exc}.") from exc
    return {name: Given(value, f"{path}{_toml_line(text, name)}") for name, value in values.items()}


def _toml_line(text: str, name: str) -> str:
    # tomllib keeps no positions; a top-level key or table stands at the start of its line
    pattern = re.compile(rf'^\s*\[*\s*["\']?{re.escape(name)}["\']?\s*[=.\]]')
    for number, line in enumerate(text.splitlines(), start=1):
        if pattern.match(line):
            return f" line {number}"
    return ""
