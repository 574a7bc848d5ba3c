"""What Linux takes as one argument or environment variable of a process, in a container or not."""

from __future__ import annotations

import os

from poolform.core.runs.launchers import LaunchRefused

STRING_LIMIT = 128 * 1024
"""Most bytes of one argument or environment variable, its end included: Linux's MAX_ARG_STRLEN."""


def check_string(what: str, text: str) -> None:
    """Refuse what no process can be given, before anything is made. Raises LaunchRefused."""
    try:
        size = len(os.fsencode(text)) + 1
    except UnicodeEncodeError:
        raise LaunchRefused(f"{what} holds half a character (a lone surrogate), which cannot be encoded.") from None
    if "\0" in text:
        raise LaunchRefused(f"{what} holds a NUL character, which no process can be given.")
    if size > STRING_LIMIT:
        raise LaunchRefused(
            f"{what} takes {size:,} bytes; a process takes {STRING_LIMIT:,}. "
            "Pass large values by reference, such as the path of a file."
        )
