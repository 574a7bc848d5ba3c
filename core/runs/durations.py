"""Lengths of time as people write them: 90s, 15m, 12h, 30d, 8w."""

from __future__ import annotations

import re

from poolform.core.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LONGEST = 36_525 * 86400.0
"""Seconds in a hundred years: what is longer is a mistake, and may lead to a year that no calendar here has."""
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", re.IGNORECASE)


def seconds(text: str, *, of: str) -> float:
    """Return how many seconds `text` is. Raises UsageError, which calls it `of`: the option or variable that has it."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{of} is {text!r}, which is no length of time.", hint="Write a number and s, m, h, d or w: 30d."
        )
    length = float(found[1]) * _UNITS[found[2].lower()]
    if length > LONGEST:
        raise UsageError(f"{of} is {text!r}, which is more than a hundred years.")
    return length
