"""Lengths of time as people write them: 90s, 15m, 12h, 30d, 8w; 10 minutes, in 2 hours."""

from __future__ import annotations

import re

from poolform.core.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LONGEST = 36_525 * 86400.0
"""Seconds in a hundred years: what is longer is a mistake, and may lead to a year that no calendar here has."""
_WORDS = "s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?"  # the first letter says which
_FORM = re.compile(rf"\s*(?:in\s+)?(\d+(?:\.\d+)?)\s*({_WORDS})\s*", re.IGNORECASE)


def seconds(text: str, *, of: str) -> float:
    """Return how many seconds `text` is. Raises UsageError, which calls it `of`: the option or variable that has it."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{of} is {text!r}, which is no length of time.", hint="Write a number and s, m, h, d or w: 30d."
        )
    length = float(found[1]) * _UNITS[found[2][0].lower()]
    if length > LONGEST:
        raise UsageError(f"{of} is {text!r}, which is more than a hundred years.")
    return length
