"""Showing a proposal to a person, and asking whether to go on."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from poolform.cli.view import can_ask, say, styled
from poolform.core.errors import Declined, Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolform.core.pools.contract import Identity
    from poolform.core.pools.proposal import Proposal, Sentence

_MARKS = {
    "create": ("+", "green"),
    "import": ("<", "green"),
    "update": ("~", "yellow"),
    "replace": ("!", "red"),
    "destroy": ("-", "red"),
    "forget": (".", "yellow"),
}


def show_proposal(proposal: Proposal) -> None:
    """Print what would be done, in plain words."""
    pool = proposal.pool
    if proposal.is_empty:
        say(_nothing(proposal))
        show_sentences(proposal.effects)
        return
    name = styled(pool.name, "bold", stream=sys.stderr)
    say()
    kind = f"{pool.type}{_brought(proposal)}"
    to_do = f"To {proposal.purpose} the work pool {name} ({kind})"
    upgrade = f" {proposal.revisions}" if proposal.revisions else ""
    say(f"{to_do}{upgrade}{_as(proposal.identity)}, Poolform will:")
    say()
    show_sentences(proposal.sentences)
    say()
    say(f"{proposal.plan.summary()[:1].upper()}{proposal.plan.summary()[1:]}.", "bold")
    for finding in proposal.findings:
        say(f"Not checked: {finding.subject}{f' ({finding.message})' if finding.message else ''}", "yellow")
    for review in proposal.reviews:
        if review.severity == "warning":
            say(f"Warning: {review.sentence}", "yellow")


def _nothing(proposal: Proposal) -> str:
    """Say why there is nothing to do."""
    name = proposal.pool.name
    if proposal.revisions:
        return f"Nothing to change but the record of {name}: it goes {proposal.revisions} of {proposal.pool.type}."
    if proposal.purpose == "upgrade" and proposal.pool.state == "ready":
        installed = f"is at revision {proposal.pool.revision} of {proposal.pool.type}, which is the installed one"
        return f"Nothing to upgrade: the work pool {name} {installed}."
    if not proposal.module.addresses:
        return f"The work pool {name} has no infrastructure of its own."
    if proposal.purpose == "deprovision":
        return f"Nothing to destroy: the infrastructure of {name} is gone already."
    return f"Nothing to change: the infrastructure of {name} is as planned."


def _brought(proposal: Proposal) -> str:
    """Name the package and version that brought the pool type, where that is not Poolform itself."""
    if proposal.registered is None:
        return f", whose plugin {proposal.pool.plugin} {proposal.pool.plugin_version} is not installed"
    plugin = proposal.registered.plugin
    if plugin.distribution == "poolform":
        return ""
    return f", brought by {f'{plugin.distribution} {plugin.version}'.strip() or plugin.name}"


def _as(who: Identity | None) -> str:
    if who is None:
        return ""
    where = ", ".join(f"{key} {value}" for key, value in (("account", who.account), ("region", who.region)) if value)
    return f" as {who.principal}{f' in {where}' if where else ''}"


def show_sentences(sentences: tuple[Sentence, ...]) -> None:
    """Print sentences one a line with a mark; what destroys is red."""
    for sentence in sentences:
        mark, colour = _MARKS.get(sentence.action, (" ", "dim"))
        text = styled(sentence.text, "red", stream=sys.stderr) if sentence.is_destructive else sentence.text
        say(f"  {styled(mark, colour, stream=sys.stderr)} {text}")
        for detail in sentence.details:
            say(f"      {detail}", "dim")


def as_json(proposal: Proposal) -> dict[str, Any]:
    """Return a proposal for programs."""
    return {
        "pool": proposal.pool.name,
        "type": proposal.pool.type,
        "plugin": proposal.pool.plugin,
        "plugin_version": proposal.pool.plugin_version,
        "purpose": proposal.purpose,
        "upgraded_from": proposal.upgraded_from,
        "revision": proposal.pool.revision,
        "changes": [
            {"address": c.address, "type": c.type, "action": c.action, "text": c.sentence(proposal.nouns)}
            for c in proposal.plan.changes
        ],
        "credentials": [sentence.text for sentence in proposal.credential],
        "counts": dict(proposal.plan.counts),
        "warnings": [review.sentence for review in proposal.reviews if review.severity == "warning"],
        "objections": [review.sentence for review in proposal.reviews if review.severity == "error"],
        "digest": proposal.plan.digest,
    }


def confirm(question: str, *, yes: bool) -> None:
    """Ask, and return only for a yes. Without a terminal only --yes is one. Raises Declined."""
    if yes:
        return
    if not can_ask():
        raise Declined(
            "Nothing was changed: there is no terminal to ask on.", hint="Give --yes to go ahead without being asked."
        )
    say()
    with _answering():
        if not typer.confirm(question, default=False, err=True):
            raise Declined("Declined: nothing was changed.")


def ask(question: str, *, hidden: bool = False, optional: bool = False) -> str:
    """Ask for a text, on a terminal; again for as long as it is empty and not optional. Raises as `confirm` does."""
    with _answering():
        default = "" if optional else None
        return str(typer.prompt(question, default=default, show_default=False, err=True, hide_input=hidden))


@contextmanager
def _answering() -> Iterator[None]:
    """Make sentences of Ctrl-C and of the end of the input, which is no yes. Nothing is changed before an answer."""
    try:
        yield
    except typer.Abort as exc:
        say()
        if isinstance(exc.__context__, KeyboardInterrupt):
            raise Interrupted("Interrupted: nothing was changed.") from None
        raise Declined("Declined: nothing was changed.") from None
