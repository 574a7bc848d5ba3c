"""Why a flow was not started."""

from __future__ import annotations


class Refusal(Exception):
    """The flow cannot be started; `code` is the job's exit code, the message its reason."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def nearest(name: str, known: list[str]) -> str:
    """Return a sentence naming what is closest to `name`, else some of what is known."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, 3, 0.5)
    if close:
        return f" Did you mean {' or '.join(close)}?"
    return f" There are: {', '.join(sorted(known)[:9])}." if known else ""
