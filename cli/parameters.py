"""Parameters as they are given on the command line: `--params` with a JSON object, `--param` with one each."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolform.core.runs.launchers import Json

One = Annotated[list[str] | None, typer.Option("--param", "-p", metavar="KEY=VALUE", help="A parameter.")]
Whole = Annotated[
    str | None,
    typer.Option("--params", metavar="JSON", help="Parameters as one JSON object; - reads it from standard input."),
]


def gathered(whole: str | None, single: Sequence[str] | None, schema: Mapping[str, Json]) -> dict[str, Json]:
    """Return the parameters that were given; single ones win over the same of the object. Raises UsageError."""
    from poolform.core.runs.parameters import parse_assignments, parse_object

    if whole == "-":
        whole = "" if sys.stdin is None else sys.stdin.read()
    given = {} if whole is None else parse_object(whole, option="--params")
    return {**given, **parse_assignments(single or (), schema)}
