"""From JSON parameters to what the flow is called with."""

from __future__ import annotations

import json

from poolform.runtime.exit_codes import PARAMETERS_INVALID
from poolform.runtime.refusal import Refusal, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PLAIN = frozenset(
    (
        *("str", "int", "float", "bool", "None", "NoneType", "object", "dict", "list"),
        *("Any", "Dict", "List", "Mapping", "Sequence", "Optional", "Union", "typing", "collections", "abc"),
    )
)
"""Words of annotations that JSON already satisfies; every other one is for pydantic."""


def bind(target: Any, text: str) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and keyword arguments for `target`, made from a JSON object.

    Values whose annotation is no plain JSON type (a model, datetime, Path, Enum, …) are converted by pydantic, if that
    can be imported; else they stay as they are. Raises Refusal when they do not fit.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise Refusal(PARAMETERS_INVALID, f"the parameters are not JSON: {error}.") from None
    if not isinstance(values, dict):
        raise Refusal(PARAMETERS_INVALID, f"the parameters are not a JSON object but {text[:60]!r}.")
    function, given = _function(target)
    if function is None:  # a class, a partial, something written in C: calling it tells
        return [], values
    code = function.__code__
    _check(function, code.co_varnames[given : code.co_argcount + code.co_kwonlyargcount], values)
    if getattr(target, "validate_parameters", True):
        _convert(function, values)
    leading = code.co_varnames[given : code.co_posonlyargcount]
    return [values.pop(name) for name in leading if name in values], values


def _function(target: Any) -> tuple[Any, int]:
    """Return the plain function behind `target`, None if there is none, and how many arguments it has been given."""
    given = 0
    while True:
        if hasattr(target, "__func__"):  # a bound method has been given its self
            target, given = target.__func__, given + 1
        elif hasattr(target, "__wrapped__"):
            target = target.__wrapped__
        elif hasattr(target, "__code__"):
            return target, given
        elif isinstance(target, type) or not hasattr(target.__call__, "__func__"):
            return None, 0
        else:
            target = target.__call__


def _check(function: Any, names: tuple[str, ...], values: dict[str, Any]) -> None:
    """Raise Refusal naming the parameters that are unknown, and those that are missing."""
    code = function.__code__
    defaults = len(function.__defaults__ or ())
    optional = {*code.co_varnames[code.co_argcount - defaults : code.co_argcount], *(function.__kwdefaults__ or ())}
    problems = [f"{name} is missing." for name in names if name not in values and name not in optional]
    if not code.co_flags & 0x08:  # it takes no **anything
        unknown = [name for name in values if name not in names]
        problems += [f"there is no parameter {name!r}." + nearest(name, list(names)) for name in unknown]
    _refuse(problems)


def _convert(function: Any, values: dict[str, Any]) -> None:
    """Replace each value whose annotation is not plain by what pydantic makes of it."""
    wanted = [name for name, hint in function.__annotations__.items() if name in values and not _is_plain(hint)]
    if not wanted:
        return
    try:
        from typing import get_type_hints

        from pydantic import TypeAdapter, ValidationError

        hints = get_type_hints(function, include_extras=True)
    except (ImportError, NameError):
        return  # no pydantic here, or names that only a type checker sees
    problems = []
    for name in wanted:
        try:
            adapter = TypeAdapter(hints[name])
        except Exception:  # noqa: BLE001, S112  # a class that pydantic knows nothing of: the flow takes what it gets
            continue
        try:
            values[name] = adapter.validate_json(json.dumps(values[name]))
        except ValidationError as error:
            problems += [".".join(map(str, (name, *one["loc"]))) + ": " + one["msg"] for one in error.errors()]
    _refuse(problems)


def _is_plain(hint: Any) -> bool:
    if isinstance(hint, type) and hint.__module__ == "builtins" and not hasattr(hint, "__args__"):
        text = hint.__name__
    else:
        text = hint if isinstance(hint, str) else repr(hint)
    words = "".join(char if char.isalnum() or char == "_" else " " for char in text).split()
    return PLAIN.issuperset(words)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise Refusal(PARAMETERS_INVALID, "the parameters do not fit: " + " ".join(problems))
