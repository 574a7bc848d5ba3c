"""Every error a person can meet.

An error says what happened and to what (the message) and what to do next (the hint), and it knows the
exit code that the command line ends with. `core` raises these; only `cli` turns them into text.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any


class PoolformError(Exception):
    """Something expected went wrong; `str()` is the sentence, `hint` the next step."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(PoolformError):
    """What was asked for makes no sense as it stands; nothing was changed."""

    exit_code = 2


class NotFound(UsageError):
    """A named thing does not exist."""


class AlreadyExists(UsageError):
    """A name is taken."""


class InvalidValues(UsageError):
    """Variables, job variables or parameters that do not fit; one line a problem in `problems`."""

    def __init__(self, message: str, problems: Sequence[str], *, hint: str | None = None) -> None:
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{message}{listed}", hint=hint)
        self.problems = tuple(problems)


class Declined(PoolformError):
    """The person said no; nothing was changed."""

    exit_code = 3


class Interrupted(PoolformError):
    """Ctrl-C; the message says what state it left."""

    exit_code = 130


class Busy(PoolformError):
    """Somebody else holds what this needs; waiting did not help."""


class PluginError(PoolformError):
    """A plugin breaks its contract; `plugin` is its name."""

    def __init__(self, plugin: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"plugin {plugin}: {message}", hint=hint)
        self.plugin = plugin


class NotReady(PoolformError):
    """A pool cannot run or be changed in the state that it is in."""


class PreflightFailed(PoolformError):
    """The caller may not do what the module needs."""


class Vetoed(PoolformError):
    """A plugin's review stopped the plan."""


class ImageError(PoolformError):
    """An image cannot be built or pushed."""


class StoreError(PoolformError):
    """The database cannot be opened, read or written."""


class SecretsUnreadable(PoolformError):
    """A block cannot be decrypted with the keys that are here."""


class TerraformError(PoolformError):
    """Terraform, or the way to it, failed."""


class TerraformMissing(TerraformError):
    """No usable Terraform or OpenTofu is on this machine."""


class WrongEngine(TerraformError):
    """The state was written by another product or a newer version."""


class StateLocked(TerraformError):
    """Terraform's own state lock is held by somebody else."""


class NothingToImport(TerraformError):
    """What a plan was to adopt is not there; `addresses` are those it was to become, such as "aws_ecs_cluster.this"."""

    def __init__(self, message: str, addresses: Iterable[str]) -> None:
        super().__init__(message)
        self.addresses = frozenset(addresses)


class StalePlan(TerraformError):
    """The state moved on after the plan was made."""


def in_words(error: Mapping[str, Any]) -> str:
    """Return what pydantic says of a value, as a person would; never the value itself, and without a full stop."""
    if error["type"] == "missing":
        return "it is required and was not given"
    if error["type"] == "extra_forbidden":
        return "there is no such field"
    if error["type"] == "string_pattern_mismatch":
        return "it does not have the form that it should have"
    message: str = error["msg"].removeprefix("Value error, ").replace("Input should", "It should").rstrip(".")
    return message[:1].lower() + message[1:]


def counted(number: int, noun: str) -> str:
    """Return `1 block`, `2 blocks`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str:
    """Return a hint that names what is closest to `name`, at least as close as `cutoff`, else all that is known."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.8) or get_close_matches(name, names, n=3, cutoff=cutoff)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(names)}." if names else "There are none yet."
