"""A plan, typed: what Terraform would do, and how to say it to a person.

Source of the shape: HashiCorp's "JSON Output Format" of `terraform show -json`, format version 1.x; unknown keys are
ignored, as it asks.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from poolform.core.errors import TerraformError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolform.core.runs.launchers import Json

Action = Literal["create", "update", "replace", "destroy", "import", "read", "forget", "keep"]

_ACTIONS: Mapping[tuple[str, ...], Action] = {
    ("no-op",): "keep",
    ("create",): "create",
    ("read",): "read",
    ("update",): "update",
    ("delete",): "destroy",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    ("forget",): "forget",
    ("create", "forget"): "replace",
}
_VERBS: Mapping[Action, str] = {
    "create": "Create",
    "update": "Change",
    "replace": "Replace",
    "destroy": "Destroy",
    "import": "Adopt",
    "read": "Read",
    "forget": "Forget",
    "keep": "Keep",
}
# A noun may carry its own verb: "activate the Cloud Run API" reads better than "create the Cloud Run API".
_OWN_VERBS: Mapping[str, Mapping[Action, str]] = {
    "activate": {"create": "Activate", "destroy": "Deactivate", "import": "Adopt the activation of"},
    "activate-for-good": {"create": "Activate", "destroy": "Leave active", "import": "Adopt the activation of"},
    "grant": {
        "create": "Grant", "update": "Grant anew", "replace": "Grant anew", "destroy": "No longer grant",
        "import": "Adopt the grant of",
    },
    "attach": {
        "create": "Attach", "update": "Attach anew", "replace": "Attach anew", "destroy": "No longer attach",
        "import": "Adopt the attachment of",
    },
}  # fmt: skip
_NEW: frozenset[Action] = frozenset({"create", "import"})


@dataclass(frozen=True)
class Change:
    """What a plan does to one resource. `before` and `after` hold attributes, None where there is nothing.

    `sensitive` and `unknown` name top-level attributes whose value must not be shown, or is decided by the cloud.
    """

    address: str
    type: str
    name: str
    action: Action
    before: Mapping[str, Json] | None = field(default=None, repr=False)
    after: Mapping[str, Json] | None = field(default=None, repr=False)
    unknown: frozenset[str] = frozenset()
    sensitive: frozenset[str] = frozenset()
    replaced_by: tuple[str, ...] = ()
    """The attributes that force a replacement."""
    import_id: str | None = None
    is_half_made: bool = False
    """Whether it is replaced because an apply that failed left it tainted, whatever its attributes say."""

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the attributes that differ, sorted."""
        before, after = self.before or {}, self.after or {}
        return tuple(sorted(key for key in {*before, *after} if before.get(key) != after.get(key)))

    def sentence(self, nouns: Mapping[str, str]) -> str:
        """Say the change in plain words, such as "Create an ECS cluster named flows-ab12cd34"."""
        noun = self._noun(nouns.get(self.noun_key(nouns)))
        first, _, rest = noun.partition(" ")
        own = _OWN_VERBS.get(first.lower())
        if own and self.action in own:
            text = f"{own[self.action]} {rest}"
        else:
            text = f"{_VERBS[self.action]} {rest if own else self._known(noun)}"
        return text + self._because()

    def _known(self, noun: str) -> str:
        """Say "the" of what is there already, where its noun says "a": "Destroy the route table"."""
        article, _, rest = noun.partition(" ")
        return f"the {rest}" if article in ("a", "an") and self.action not in _NEW else noun

    def noun_key(self, nouns: Mapping[str, str]) -> str:
        """Return what names this change in `nouns`: its own address without an index, where that is there, or its type.

        Several objects of one type may be different things to a person: each API that is activated, each grant.
        """
        own = f"{self.type}.{self.name}"
        return own if own in nouns else self.type

    def _noun(self, template: str | None) -> str:
        if template is not None:
            values = _Attributes(self.after or self.before or {}, self.sensitive)
            begins_with = _leading_attribute(template)
            if begins_with is not None and begins_with not in values:
                values[begins_with] = self.address  # a sentence needs something to speak of
            try:
                return string.Formatter().vformat(template, (), values).strip()
            except (AttributeError, LookupError, TypeError, ValueError):
                pass  # a noun that reaches into an attribute which is not there yet
        provider, _, rest = self.type.partition("_")
        kind = self.type if provider == "terraform" else rest.replace("_", " ") or self.type
        return f"{_article(kind)} {kind} ({self.address})"

    def _changes(self) -> list[str]:
        """Name what changes; where it is a plain value, or one of an object's, and no secret, say from what to what."""
        found: list[str] = []
        for name in self.changed:
            if name in self.sensitive or name in self.unknown:
                found.append(name)
                continue
            before, after = (self.before or {}).get(name), (self.after or {}).get(name)
            if isinstance(before, dict) and isinstance(after, dict):
                keys = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
                found += [_from_to(f"{name}.{key}", before.get(key), after.get(key)) for key in keys]
            else:
                found.append(_from_to(name, before, after))
        return found

    def _because(self) -> str:
        if self.is_half_made:
            return ", because making it was cut off or failed half way"
        if self.action == "replace" and self.replaced_by:
            return f", because {_listed(self.replaced_by)} changed"
        if self.action == "update" and self.changed:
            return f": {_listed(self._changes())}"
        if self.action == "import":
            adjusted = f", and put right its {_listed(self.changed)}" if self.before and self.changed else ""
            return f", left by an interrupted run{adjusted}"
        return ""


@dataclass(frozen=True)
class Plan:
    """A saved plan, read back. `changes` leaves out what stays as it is; `drift` is what moved outside Terraform."""

    changes: tuple[Change, ...]
    drift: tuple[Change, ...]
    kept: int
    outputs_change: bool
    engine_version: str
    digest: str
    """A fingerprint of what the plan does, equal for equal plans."""

    @property
    def is_empty(self) -> bool:
        """Whether applying it would change nothing, outputs included."""
        return not self.changes and not self.outputs_change

    @property
    def counts(self) -> Mapping[Action, int]:
        """How many resources each action touches."""
        return Counter(change.action for change in self.changes)

    def summary(self) -> str:
        """Return the counts in words, such as "3 to create, 1 to replace"."""
        order: Sequence[Action] = ("create", "import", "update", "replace", "destroy", "forget")
        words = {"import": "adopt", "update": "change"}
        parts = [f"{self.counts[a]} to {words.get(a, a)}" for a in order if self.counts.get(a)]
        return ", ".join(parts) or ("only outputs change" if self.outputs_change else "nothing to do")


NOTHING = Plan(changes=(), drift=(), kept=0, outputs_change=False, engine_version="", digest="")
"""The plan that does nothing: of a pool without resources, or of one that is as planned."""


def read_plan(document: Mapping[str, Json]) -> Plan:
    """Return the Plan in the JSON of `terraform show -json PLANFILE`.

    Raises TerraformError for a format whose major version is not 1.
    """
    version = str(document.get("format_version", ""))
    if version.partition(".")[0] != "1":
        raise TerraformError(
            f"This Terraform writes plans in format {version or 'unknown'}; Poolform reads format 1.",
            hint="Use Terraform or OpenTofu 1.10 or newer, or a newer Poolform.",
        )
    changes = tuple(map(_change, document.get("resource_changes", ())))
    doing = tuple(change for change in changes if change.action not in ("keep", "read"))
    outputs = any(tuple(out["actions"]) != ("no-op",) for out in document.get("output_changes", {}).values())
    return Plan(
        changes=doing,
        drift=tuple(map(_change, document.get("resource_drift", ()))),
        kept=sum(change.action == "keep" for change in changes),
        outputs_change=outputs,
        engine_version=str(document.get("terraform_version", "")),
        digest=_digest(document),
    )


def _change(document: Mapping[str, Json]) -> Change:
    change = document["change"]
    action: Action = _ACTIONS.get(tuple(change["actions"]), "update")
    importing = (change.get("importing") or {}).get("id")
    if importing is not None and action in ("keep", "update"):
        action = "import"
    before, after = change.get("before"), change.get("after")
    return Change(
        address=document["address"],
        type=document["type"],
        name=document["name"],
        action=action,
        before=before,
        after=after,
        unknown=_flagged(change.get("after_unknown"), after),
        sensitive=_flagged(change.get("before_sensitive"), before) | _flagged(change.get("after_sensitive"), after),
        replaced_by=tuple(sorted({str(path[0]) for path in change.get("replace_paths", ()) if path})),
        import_id=importing,
        is_half_made=document.get("action_reason") == "replace_because_tainted",
    )


def _flagged(marks: Json, values: Mapping[str, Json] | None) -> frozenset[str]:
    """Return the top-level names under which anything is marked true; a bare true marks all of `values`."""
    if isinstance(marks, dict):
        return frozenset(key for key, mark in marks.items() if _any_true(mark))
    return frozenset(values or ()) if marks else frozenset()


def _any_true(mark: Json) -> bool:
    if isinstance(mark, dict):
        return any(map(_any_true, mark.values()))
    if isinstance(mark, list):
        return any(map(_any_true, mark))
    return bool(mark)


def _digest(document: Mapping[str, Json]) -> str:
    parts = {key: document.get(key) for key in ("variables", "resource_changes", "output_changes")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class _Attributes(dict[str, object]):
    """Attributes for a noun's placeholders: never a secret, and a word where the cloud has yet to decide."""

    def __init__(self, values: Mapping[str, Json], sensitive: frozenset[str]) -> None:
        super().__init__({key: "(sensitive)" if key in sensitive else value for key, value in values.items()})

    def __missing__(self, key: str) -> str:
        return "(known after apply)"


def _leading_attribute(template: str) -> str | None:
    """Return the attribute that a noun begins with, None where it begins with a word."""
    words, name, _, _ = next(iter(string.Formatter().parse(template)), ("", None, None, None))
    return name.replace("[", ".").split(".")[0] if name and not words.strip() else None


def _from_to(name: str, before: Json, after: Json) -> str:
    """Return `name (old → new)` for plain short values, else the name alone."""
    plain = all(value is None or isinstance(value, str | int | float | bool) for value in (before, after))
    text = f"{json.dumps(before, ensure_ascii=False)} → {json.dumps(after, ensure_ascii=False)}"
    return f"{name} ({text})" if plain and len(text) <= 120 else name


def _article(noun: str) -> str:
    return "an" if noun[:1].lower() in "aeio" else "a"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= 1:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
