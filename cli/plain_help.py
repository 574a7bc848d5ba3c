"""How help reads: plain text, whole sentences, and what to write for each value in capitals.

Typer's own shows boxes that a narrow terminal cuts names off in, ends the sentences in a list of commands after a few
words, and calls values by Python's types.
"""

from __future__ import annotations

import re
from typing import Any

_FIRST_SENTENCE = re.compile(r"(.+?)(?:\.(?=\s)|\.?$)")
_BY_TYPE = {"int": "NUMBER", "int range": "NUMBER", "float": "NUMBER", "float range": "NUMBER", "path": "FILE"}


def in_plain_text(command: Any) -> Any:
    """Have a command's help, and that of all below it, read so; return the command."""
    command.rich_markup_mode = None
    command.short_help = first_sentence(command.help or "")
    usage = command.collect_usage_pieces
    command.collect_usage_pieces = lambda ctx: [piece.strip("{}") for piece in usage(ctx)]
    for parameter in command.params:
        if parameter.metavar is None and not (getattr(parameter, "is_flag", False) or _choices(parameter)):
            parameter.metavar = _placeholder(parameter)
    for inner in getattr(command, "commands", {}).values():
        in_plain_text(inner)
    return command


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, without its full stop."""
    found = _FIRST_SENTENCE.match(" ".join(text.split()))
    return found[1] if found else ""


def _choices(parameter: Any) -> bool:
    return bool(getattr(parameter.type, "choices", None))


def _placeholder(parameter: Any) -> str:
    """Return what stands for a value: what kind of thing it is, or the last word of the option's or argument's name."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return _BY_TYPE.get(parameter.type.name) or max(parameter.opts, key=len).rpartition("-")[2].upper()
