"""Public classes and functions as text: for the reference, and for the snapshot that the tests compare."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Text(str):
    """Text that stands in a signature as it is, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the text itself."""
        return str(self)


def signature(function: Any) -> str:
    """Return a function's signature, with annotations as they are written."""
    found = inspect.signature(function)
    empty = inspect.Signature.empty
    parameters = [
        parameter.replace(
            default=empty if parameter.default is empty else plain(parameter.default),
            annotation=empty if parameter.annotation is empty else Text(parameter.annotation),
        )
        for parameter in found.parameters.values()
    ]
    returns = found.return_annotation
    return str(found.replace(parameters=parameters, return_annotation=empty if returns is empty else Text(returns)))


def plain(value: Any) -> Text:
    """Return a default as it is written, where that is short and the same on every machine."""
    is_plain = value is None or isinstance(value, str | int | float | tuple)
    return Text(repr(value) if is_plain and sys.prefix not in repr(value) else "…")


def bases(cls: type) -> str:
    """Return a class's bases, in the parentheses of its first line."""
    named = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    return f"({named})" if named else ""


def attributes(cls: type) -> Iterator[tuple[str, str]]:
    """Yield the name of each attribute that a class of ours or its bases declare, and its declaration."""
    for owner in _owners(cls):
        for name, annotation in inspect.get_annotations(owner).items():
            if not name.startswith("_") and name != "model_config" and not name.isupper():
                yield name, f"{name}: {annotation}{_default(cls, name)}"


def methods(cls: type) -> Iterator[tuple[str, str, Any]]:
    """Yield name, declaration and function of each public method and property of a class of ours and its bases.

    Of others, the constructor and `__call__` are told where they are ours and written out.
    """
    for owner in _owners(cls):
        annotations = inspect.get_annotations(owner)
        for name, value in vars(owner).items():
            if name not in annotations and (not name.startswith("_") or _is_told(cls, name, value)):
                declaration, function = _declared(name, value)
                if declaration:
                    yield name, declaration, function


def _owners(cls: type) -> list[type]:
    return [owner for owner in cls.__mro__ if owner.__module__.startswith("poolform")]


def _is_told(cls: type, name: str, value: Any) -> bool:
    made = dataclasses.is_dataclass(cls) or any(base.__module__.startswith("pydantic") for base in cls.__mro__)
    return not made and name in ("__init__", "__call__") and getattr(value, "__module__", "").startswith("poolform")


def _declared(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, property):
        return f"{name}: {inspect.signature(value.fget).return_annotation}, read only", value.fget  # type: ignore[arg-type]
    if isinstance(value, classmethod | staticmethod):
        return f"{type(value).__name__} {name}{signature(value.__func__)}", value.__func__
    if inspect.isfunction(value):
        return f"def {name}{signature(value)}", value
    if "fixture" in type(value).__name__.lower():
        return f"fixture {name}", getattr(value, "__wrapped__", value)
    return "", None


def _default(cls: type, name: str) -> str:
    if dataclasses.is_dataclass(cls) and name in cls.__dataclass_fields__:
        field = cls.__dataclass_fields__[name]
        if field.default is not dataclasses.MISSING:
            return f" = {plain(field.default)}"
        return " = …" * (field.default_factory is not dataclasses.MISSING)
    of_model = getattr(cls, "model_fields", {}).get(name)
    if of_model is not None:
        return "" if of_model.is_required() else f" = {plain(of_model.get_default(call_default_factory=True))}"
    return f" = {plain(getattr(cls, name))}" if hasattr(cls, name) else ""
