"""Terraform's diagnostics, made into errors that say what to do."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolform.core.errors import NothingToImport, StalePlan, StateLocked, TerraformError, WrongEngine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolform.core.runs.launchers import Json


@dataclass(frozen=True)
class Diagnostic:
    """One thing that Terraform has to say: its summary, the detail, and what it is about."""

    severity: str
    summary: str
    detail: str = ""
    address: str | None = None
    where: str | None = None

    @classmethod
    def from_event(cls, event: Mapping[str, Json]) -> Diagnostic:
        """Read the `diagnostic` object of one line of `-json` output."""
        data = event["diagnostic"]
        start = data.get("range")
        where = f"{start['filename']} line {start['start']['line']}" if start else None
        return cls(data["severity"], data["summary"], data.get("detail", ""), data.get("address"), where)

    def sentence(self) -> str:
        """Say it on one line, with what it is about."""
        about = self.address or self.where
        detail = " ".join(self.detail.split())
        parts = [self.summary.rstrip("."), detail.rstrip(".")]
        text = ": ".join(part for part in parts if part)
        return f"{about}: {text}" if about and about not in text else text


class NeedsInit(TerraformError):
    """The working folder is not initialised for this module; an init mends it."""


# Summaries come from Terraform's and OpenTofu's own source; they are stable between minor versions, and an unknown one
# only costs the special hint.
_NEEDS_INIT = re.compile(
    r"initialization required|reinitialization|inconsistent dependency lock file|required plugins are not installed"
    r"|backend configuration changed|missing required provider|could not load plugin|module not installed",
    re.IGNORECASE,
)
_LOCKED = re.compile(r"acquiring the state lock", re.IGNORECASE)
_STALE = re.compile(r"saved plan is stale|saved plan does not match the given state", re.IGNORECASE)
_NEWER = re.compile(r"state snapshot was created by|unsupported state file format|state.*newer version", re.IGNORECASE)
_DOWNLOAD = re.compile(
    r"query available provider packages|failed to install provider|invalid provider registry host", re.IGNORECASE
)
_GONE = re.compile(r"cannot import non-existent remote object.*?object to\s+(\".+?\"), the", re.IGNORECASE | re.DOTALL)
_FULL = re.compile(r"no space left on device", re.IGNORECASE)

# Commands whose errors have no JSON draw a frame around them, in colours.
_DRAWN = re.compile(r"\x1b\[[0-9;]*m|[│╷╵]")


def error_from(verb: str, diagnostics: Sequence[Diagnostic], tail: Sequence[str]) -> TerraformError:
    """Return the error that a failed command amounts to; `tail` is its last plain lines, if it had no diagnostics."""
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    if not errors:
        said = " ".join(_DRAWN.sub("", "\n".join(tail)).split()) or "it said nothing"
        return TerraformError(f"terraform {verb} failed: {said}.", hint=_hint_for(said))
    everything = "\n".join(f"{error.summary} {error.detail}" for error in errors)
    message = errors[0].sentence() + "."
    if len(errors) > 1:
        message = f"{len(errors)} errors" + "".join(f"\n  {error.sentence()}." for error in errors)
    gone = [_GONE.search(f"{error.summary} {error.detail}") for error in errors]
    if all(gone):
        return NothingToImport(message, [json.loads(found[1]) for found in gone if found])  # it quotes addresses
    if _STALE.search(everything):
        return StalePlan(
            "The plan is stale: the infrastructure was changed after the plan was made.", hint="Make a new plan."
        )
    if _NEWER.search(everything):
        return WrongEngine(message, hint="Use the version that wrote the state, or a newer one (POOLFORM_TERRAFORM).")
    if _LOCKED.search(everything):
        return StateLocked(_lock_sentence(everything), hint="Wait until that ends, then run this again.")
    if _NEEDS_INIT.search(everything):
        return NeedsInit(message)
    return TerraformError(message, hint=_hint_for(everything))


def _hint_for(text: str) -> str | None:
    if _FULL.search(text):
        return "The disk is full: free some space, then run this again."
    if _DOWNLOAD.search(text):
        return (
            "The provider could not be downloaded: check the network and its proxies, or name a mirror in Terraform's "
            "CLI configuration (TF_CLI_CONFIG_FILE)."
        )
    return None


def _lock_sentence(text: str) -> str:
    who = re.search(r"^\s*Who:\s*(.+)$", text, re.MULTILINE)
    since = re.search(r"^\s*Created:\s*(.+)$", text, re.MULTILINE)
    by = f" by {who[1].strip()}" if who else ""
    when = f" since {since[1].strip()[:19]} UTC" if since else ""
    return f"The state is locked{by}{when}: another Terraform is working on it."
