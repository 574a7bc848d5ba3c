"""Between rows and the frozen dataclasses that the noun modules hand out: JSON columns, flags, SQL made of names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from poolform.core.store.database import Row


class Record:
    """A dataclass read from a table. `JSON` and `FLAGS` name the columns that hold JSON text and booleans."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    JSON: ClassVar[frozenset[str]] = frozenset()
    FLAGS: ClassVar[frozenset[str]] = frozenset()


R = TypeVar("R", bound=Record)


def read(kind: type[R], row: Row) -> R:
    """Return a row as a `kind`; its columns must be the dataclass's fields."""
    values: dict[str, Any] = {column: row[column] for column in row.keys()}  # noqa: SIM118 - a Row is no mapping
    for column in kind.JSON:
        text = values[column]
        if text is not None:  # most are empty, and a thousand records are read at a time
            values[column] = {} if text == "{}" else [] if text == "[]" else json.loads(text)
    for column in kind.FLAGS:
        values[column] = bool(values[column])
    if values.keys() != kind.__dataclass_fields__.keys():
        return kind(**values)  # which says what is wrong
    made = object.__new__(kind)
    made.__dict__.update(values)  # as __init__ does, a field at a time, in five times the time
    return made


def dump(value: Any) -> str | None:
    """Return JSON text for a column; None stays NULL."""
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half a character (a byte of a command line that is no UTF-8) is good JSON, but only when it is escaped.
    return text if text.isascii() or text.encode("utf-8", "replace").decode() == text else json.dumps(value)


def encode(kind: type[Record], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` as a statement takes them."""
    return {column: dump(value) if column in kind.JSON else value for column, value in values.items()}


def insert(table: str, columns: Iterable[str]) -> str:
    """Return an INSERT whose placeholders are the columns' names."""
    names = tuple(columns)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"  # noqa: S608


def assign(columns: Iterable[str]) -> str:
    """Return the SET list of an UPDATE whose placeholders are the columns' names."""
    return ", ".join(f"{name} = :{name}" for name in columns)


def among(column: str, ids: Iterable[str] | None) -> tuple[str, dict[str, str]]:
    """Return `AND column IN (…)` and its values; nothing where `ids` is None."""
    if ids is None:
        return "", {}
    values = {f"among_{number}": one for number, one in enumerate(ids)}
    return f"AND {column} IN ({', '.join(f':{name}' for name in values) or 'NULL'})", values


def only(known: Collection[str], given: Iterable[str]) -> None:
    """Raise TypeError for a column that callers may not set: names become SQL text, so they never come from outside."""
    if unknown := set(given) - set(known):
        raise TypeError(f"no such field: {', '.join(sorted(unknown))}")
