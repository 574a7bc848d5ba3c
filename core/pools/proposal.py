"""A proposal: what would be done to a pool, complete and saved, for a person to say yes or no to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from poolform.core.errors import Vetoed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.pools.catalogue import Registered
    from poolform.core.pools.contract import Finding, Identity, Review
    from poolform.core.store.pools import WorkPool
    from poolform.core.terraform.locate import Binary
    from poolform.core.terraform.plan import Action, Change, Plan
    from poolform.core.terraform.render import Module
    from poolform.core.terraform.workspace import Workspace

Purpose = Literal["provision", "upgrade", "deprovision"]


@dataclass(frozen=True)
class Sentence:
    """One thing that would be done, in words; `details` are lines below it, such as what drifted."""

    action: Action
    text: str
    details: tuple[str, ...] = ()

    @property
    def is_destructive(self) -> bool:
        """Whether something that exists would be gone."""
        return self.action in ("destroy", "replace")


@dataclass(frozen=True)
class Proposal:
    """A saved plan with all that belongs to it. Nothing was changed yet; the workspace is a temporary one.

    `pool` is the record as it will be stored; `recorded_at` the time stamp of the one it replaces, None for a new pool.
    `binary` is the Terraform that planned it; None for a pool without resources, which needs none.
    `upgraded_from` is the record's revision where the one that will be stored is another.
    `credential` are sentences on the credentials that come after the apply, or go before a destroy;
    `effects` what a destroy does to runs and deployments, or what is removed where the pool has been until now.
    """

    purpose: Purpose
    pool: WorkPool
    recorded_at: float | None
    module: Module
    workspace: Workspace
    plan: Plan
    binary: Binary | None
    registered: Registered | None = None
    variables: Any = None
    upgraded_from: int | None = None
    identity: Identity | None = None
    findings: tuple[Finding, ...] = ()
    reviews: tuple[Review, ...] = ()
    credential: tuple[Sentence, ...] = ()
    effects: tuple[Sentence, ...] = ()
    nouns: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """Everything that would be done, in the order in which it would be."""
        changes = plan_sentences(self.plan, self.nouns)
        if self.purpose == "deprovision":
            return (*self.effects, *self.credential, *changes)
        return (*changes, *self.credential, *self.effects)

    @property
    def is_move(self) -> bool:
        """Whether the pool leaves the place where it has been until now."""
        return self.purpose != "deprovision" and bool(self.effects)

    @property
    def revisions(self) -> str:
        """Say from which revision of the pool type to which one this upgrades; empty where it does not."""
        return "" if self.upgraded_from is None else f"from revision {self.upgraded_from} to {self.pool.revision}"

    def require_passed(self) -> None:
        """Refuse what a plugin objects to. Raises Vetoed, with every objection and whose it is."""
        objections = [review for review in self.reviews if review.severity == "error"]
        if objections:
            listed = "".join(f"\n  {objection.sentence}" for objection in objections)
            raise Vetoed(
                f"The plan for {self.pool.name} was stopped by review:{listed}",
                hint="Change the variables, or take it up with whoever maintains the plugin; nothing was changed.",
            )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to ask about."""
        return self.plan.is_empty and not self.credential and not self.is_move


def plan_sentences(plan: Plan, nouns: Mapping[str, str]) -> tuple[Sentence, ...]:
    """Return a plan's changes in words, each with what moved outside Poolform to cause it.

    Terraform's JSON has them by address. `nouns` has them as their author tells the story, so that is the order here.
    """
    drifted = {change.address: change for change in plan.drift}
    places = {key: place for place, key in enumerate(nouns)}
    told = sorted(plan.changes, key=lambda change: places.get(change.noun_key(nouns), len(places)))
    return tuple(
        Sentence(change.action, change.sentence(nouns), _drift_details(change, drifted.get(change.address)))
        for change in told
    )


def _drift_details(planned: Change, change: Change | None) -> tuple[str, ...]:
    """Say what was changed by hand: attribute by attribute, or that the thing is gone.

    What is only half made moved by itself: its state never heard of what the cloud decided. And providers read what
    was never set now as null, now as empty: nobody changed that.
    """
    if change is None or planned.is_half_made:
        return ()
    if change.after is None:
        return ("it was removed outside Poolform",)
    before, after = change.before or {}, change.after
    return tuple(
        f"{name} was changed outside Poolform"
        + ("" if name in change.sensitive else f" from {_short(before.get(name))} to {_short(after.get(name))}")
        for name in change.changed
        if before.get(name) not in _EMPTY or after.get(name) not in _EMPTY
    )


_EMPTY: tuple[object, ...] = (None, "", [], {})


def _short(value: object) -> str:
    """Write a value as the plan's own sentences do, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
