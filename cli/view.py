"""How results are shown: tables and fields for people, JSON for programs. Results on stdout, talk on stderr."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Format(StrEnum):
    """How a read command prints its result."""

    text = "text"
    json = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="How to print the result.", show_default=False)]

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def styled(text: str, style: str, *, stream: Any = None) -> str:
    """Return `text` in a style where the stream (default: stdout) is a terminal that wants colour."""
    stream = sys.stdout if stream is None else stream
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plain or stream is None or not stream.isatty():  # Python has no stream where the shell closed it: `>&-`
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def can_ask() -> bool:
    """Say whether there is a terminal to ask a person on."""
    return sys.stdin is not None and sys.stdin.isatty()


def say(text: str = "", style: str | None = None) -> None:
    """Tell a person something, on stderr."""
    if sys.stderr is None:  # the shell closed it, and print would take stdout instead
        return
    print(styled(text, style, stream=sys.stderr) if style else text, file=sys.stderr, flush=True)  # noqa: T201


def show(text: str) -> None:
    """Print a result, on stdout."""
    print(text, flush=True)  # noqa: T201


def show_json(data: object) -> None:
    """Print a result as JSON, on stdout."""
    show(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print rows under column names, aligned; `empty` is said instead where there are none."""
    if not rows:
        say(empty)
        return
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    show(styled(_line(columns, widths), "bold"))
    for row in cells:
        show(_line(row, widths))


def fields(values: Mapping[str, object]) -> None:
    """Print names and values, one a line, aligned."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        show(f"{styled(f'{name:<{width}}', 'dim')}  {_cell(value)}")


def when(seconds: float | None) -> str:
    """Return a time in this machine's zone, to the second; empty for none."""
    return "" if seconds is None else datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def iso(seconds: float | None) -> str | None:
    """Return a time as ISO 8601 with its zone, for JSON."""
    return None if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat()


def counted(number: int, noun: str) -> str:
    """Return `1 block`, `2 blocks`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
