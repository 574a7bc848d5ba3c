"""IAM's decision: what a principal's policies, and the boundary around them, say about an action on a resource.

As in https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html, for identity policies
within one account. Conditions: the operators that our modules use; an unknown one is an error, not a guess.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

Decision = Literal["allowed", "implicitDeny", "explicitDeny"]
Context = Mapping[str, str]


@dataclass(frozen=True)
class Verdict:
    decision: Decision
    missing_context: tuple[str, ...] = ()


def decide(policies: Iterable[str], boundary: str | None, action: str, resource: str, context: Context) -> Verdict:
    own = _decide([_statements(policy) for policy in policies], action, resource, context)
    if own.decision != "allowed" or boundary is None:
        return own
    return _decide([_statements(boundary)], action, resource, context)


def _decide(documents: list[list[dict[str, Any]]], action: str, resource: str, context: Context) -> Verdict:
    missing: set[str] = set()
    allowed = False
    for statement in (statement for document in documents for statement in document):
        if not (_covers(statement, "Action", action) and _covers(statement, "Resource", resource)):
            continue
        holds, absent = _conditions(statement.get("Condition", {}), context)
        missing.update(absent)
        if not holds:
            continue
        if statement["Effect"] == "Deny":
            return Verdict("explicitDeny")
        allowed = True
    return Verdict("allowed") if allowed else Verdict("implicitDeny", tuple(sorted(missing)))


def principals(document: str) -> list[dict[str, Any]]:
    """The statements of a trust policy."""
    return _statements(document)


def _statements(document: str) -> list[dict[str, Any]]:
    text = document if document.lstrip().startswith("{") else unquote(document)
    statements = json.loads(text)["Statement"]
    return statements if isinstance(statements, list) else [statements]


def _covers(statement: dict[str, Any], key: str, value: str) -> bool:
    if f"Not{key}" in statement:
        return not any(_like(pattern, value, fold=key == "Action") for pattern in listed(statement[f"Not{key}"]))
    return any(_like(pattern, value, fold=key == "Action") for pattern in listed(statement.get(key, [])))


def _like(pattern: str, value: str, *, fold: bool = False) -> bool:
    # A policy's * and ? are fnmatch's; its brackets are plain characters.
    pattern = re.sub(r"([\[\]])", r"[\1]", pattern)
    if fold:
        return fnmatch.fnmatchcase(value.lower(), pattern.lower())
    return fnmatch.fnmatchcase(value, pattern)


def _conditions(conditions: dict[str, dict[str, Any]], context: Context) -> tuple[bool, set[str]]:
    holds, absent = True, set()
    for operator, tests in conditions.items():
        for key, wanted in tests.items():
            value = context.get(key)
            if value is None:
                absent.add(key)
                holds = False
            elif not _test(operator, listed(wanted), value):
                holds = False
    return holds, absent


def _test(operator: str, wanted: list[str], value: str) -> bool:
    if operator == "StringEquals":
        return value in wanted
    if operator == "StringNotEquals":
        return value not in wanted
    if operator in ("StringLike", "ArnLike", "ArnEquals"):
        return any(_like(pattern, value) for pattern in wanted)
    raise NotImplementedError(f"the condition operator {operator}")


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
