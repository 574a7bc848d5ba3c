"""How results are shown: tables and fields for people, JSON for programs. Results on stdout, talk on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Format(StrEnum):
    """How a read command prints its result."""

    text = "text"
    json = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="How to print the result.", show_default=False)]

_NARROWEST = 12  # columns; ids are cut to this, and stay in one piece
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
    """Tell a person something, on stderr. Where nobody hears it any more, the work goes on all the same."""
    if sys.stderr is None:  # the shell closed it, and print would take stdout instead
        return
    with suppress(OSError):  # a pipe without a reader, such as of `| head` or of a log that was restarted
        print(styled(text, style, stream=sys.stderr) if style else text, file=sys.stderr, flush=True)  # noqa: T201


def show(text: str) -> None:
    """Print a result, on stdout."""
    print(text, flush=True)  # noqa: T201


def show_line(text: str) -> None:
    """Print a line that a flow wrote, on stdout: as it is, or on a terminal without what would move or rule it."""
    show(_harmless(text) if sys.stdout is not None and sys.stdout.isatty() else text)


def _harmless(text: str) -> str:
    """Return a text without control characters and escape sequences, but with its colours.

    Of what a carriage return overwrote, the last is left.
    """
    import re

    *_, text = [part for part in text.split("\r") if part] or [""]
    sequences = (
        r"\x1b\[(?![0-9;:]*m)[0-?]*[ -/]*[@-~]?"  # moves, clears, modes: all of CSI but colours
        r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # titles, links, clipboards: up to where each ends
        r"|\x1b(?!\[)[ -/]*[0-~]?"
        r"|[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f-\x9f]"
    )
    return re.sub(sequences, "", text)


def show_json(data: object, *, indent: int | None = 2) -> None:
    """Print a result as JSON, on stdout: as it is where that is UTF-8, else in ASCII, which every encoding has."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    is_utf8 = encoding.lower().replace("-", "") == "utf8"
    show(json.dumps(data, indent=indent, ensure_ascii=not is_utf8, default=str))


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str, notes: Sequence[str | None] = ()
) -> None:
    """Print rows under column names, aligned, and below a row its note; `empty` is said where there are no rows."""
    if not rows:
        say(empty)
        return
    cells = [[_cell(value) for value in row] for row in rows]
    widths = _fitting([max(map(len, column)) for column in zip(columns, *cells, strict=True)], columns)
    room = terminal_width()
    if room and _across(widths) > room:
        _one_below_another(columns, cells, notes)
        return
    show(styled(_line(columns, widths), "bold"))
    for number, row in enumerate(cells):
        for line in zip_longest(*map(folded, row, widths), fillvalue=""):
            show(_line(line, widths))
        note = notes[number] if number < len(notes) else None
        for text in folded(note, max(room - 2, _NARROWEST) if room else len(note)) if note else ():
            show(f"  {text}")


def _one_below_another(columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str | None]) -> None:
    """Print rows where a terminal is too narrow for them side by side: a cell a line, and a gap between two rows."""
    for number, row in enumerate(rows):
        if number:
            show("")
        note = notes[number] if number < len(notes) else None
        fields({**dict(zip(columns, row, strict=True)), **({"": note} if note else {})})


def fields(values: Mapping[str, object]) -> None:
    """Print names and values, one a line, aligned."""
    width = max(map(len, values), default=0)
    room = terminal_width()
    for name, value in values.items():
        first, *rest = folded(_cell(value), max(room - width - 2, _NARROWEST)) if room else [_cell(value)]
        show(f"{styled(f'{name:<{width}}', 'dim')}  {first}")
        for line in rest:
            show(f"{'':<{width}}  {line}")


def when(seconds: float | None, zone: str | None = None) -> str:
    """Return a time to the second, with its zone: this one, or this machine's; empty for none."""
    if seconds is None:
        return ""
    if zone is None:
        return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S %Z}"
    from zoneinfo import ZoneInfo

    return f"{datetime.fromtimestamp(seconds, ZoneInfo(zone)):%Y-%m-%d %H:%M:%S %Z}"


def iso(seconds: float | None) -> str | None:
    """Return a time as ISO 8601 with its zone, for JSON."""
    return None if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat()


def terminal_width() -> int | None:
    """Return how many columns results have; None where they go to no terminal and are not to be folded."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def folded(text: str, width: int) -> list[str]:
    """Return a text in lines that are no wider than this, broken between words where they allow it."""
    if len(text) <= width:
        return [text]
    from textwrap import wrap

    return [line for part in text.splitlines() for line in wrap(part, width, break_on_hyphens=False) or [""]] or [""]


def _fitting(widths: list[int], columns: Sequence[str]) -> list[int]:
    """Return the widths of columns on a terminal, where the widest give way until all fit, but not their headings."""
    room = terminal_width()
    least = [max(len(column), _NARROWEST) for column in columns]
    while room and _across(widths) > room:
        yielding = [i for i, width in enumerate(widths) if width > least[i]]
        if not yielding:
            break
        widest = max(yielding, key=lambda i: widths[i])
        widths[widest] -= 1
    return widths


def _across(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


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
