"""YAML, read with the line of each of its parts, so that whatever is wrong later can be named with its place."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import yaml

from poolform.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

Where = tuple[str | int, ...]
"""The keys and indexes that lead to a part of a document."""
Lines = dict[Where, int]

_TEMPLATE = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_ENVIRONMENT = re.compile(r"\$(\w+)")


def parse(file: Path, text: str) -> tuple[Any, Lines, list[tuple[int, str]]]:
    """Return the data, the line of each part, and keys that are there twice."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            found = list(_repeated(node))
            data = loader.construct_document(node) if node is not None else {}
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise no_yaml(file.name, exc) from exc
    if not isinstance(data, dict):
        raise UsageError(f"{file.name} line 1: a project file is a mapping, with work_pools and deployments.")
    lines: Lines = {(): 1}
    _note(node, (), lines)
    return data, lines, found


def no_yaml(name: str, exc: Exception) -> UsageError:
    """Return what is wrong with a file that YAML's reader, its makers of dates and numbers, or its depth ended at."""
    mark = getattr(exc, "problem_mark", None)
    place = f" line {mark.line + 1}" if mark else ""
    if isinstance(exc, RecursionError):
        return UsageError(f"{name}: it is nested too deeply, or refers to itself.")
    said = exc if isinstance(exc, ValueError) and not isinstance(exc, yaml.YAMLError) else getattr(exc, "problem", None)
    return UsageError(f"{name}{place}: {said or 'this is not YAML'}.")


def filled_in(
    data: Any, lines: Lines, found: list[tuple[int, str]], path: Where = (), *, steps: Collection[str] = ()
) -> Any:
    """Return data with `{{ $NAME }}` replaced by the environment's value; other templates become problems.

    `steps` are the ids of steps that are not run, and so give no values.
    """
    if isinstance(data, dict):
        return {key: filled_in(value, lines, found, (*path, key), steps=steps) for key, value in data.items()}
    if isinstance(data, list):
        return [filled_in(value, lines, found, (*path, index), steps=steps) for index, value in enumerate(data)]
    if not isinstance(data, str) or path[:1] == ("definitions",):
        return data

    def value_of(match: re.Match[str]) -> str:
        name = _ENVIRONMENT.fullmatch(match[1])
        line = line_of(lines, path)
        if name is None:
            is_steps = match[1].partition(".")[0].strip() in steps
            why = "comes of a step that is not run: write it out" if is_steps else "is not supported; {{ $NAME }} is"
            found.append((line, f"line {line}: {match[0]} {why}."))
        elif name[1] not in os.environ:
            found.append((line, f"line {line}: the environment has no {name[1]}."))
        else:
            return os.environ[name[1]]
        return match[0]

    return _TEMPLATE.sub(value_of, data)


def _repeated(node: Any) -> Iterator[tuple[int, str]]:
    """Return keys that a mapping has twice, of which YAML would take the last without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # a list or a mapping, which cannot be a key; constructing says so
            if key.value in seen and key.value != "<<":
                line = key.start_mark.line + 1
                yield line, f"line {line}: {key.value}: it is there twice."
            seen.add(key.value)
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated(value)


def _note(node: Any, path: Where, lines: Lines) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*path, key.value)] = key.start_mark.line + 1
            _note(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            _note(value, (*path, index), lines)


def line_of(lines: Mapping[Where, int], path: Where) -> int:
    """Return the line of a part of a document, or of what it is in."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)
