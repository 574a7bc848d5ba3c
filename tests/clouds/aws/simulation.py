"""iam:SimulatePrincipalPolicy, answered from the policies that moto holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clouds.aws.wire import AwsError, Request

if TYPE_CHECKING:
    from clouds.aws.accounts import Accounts

PAGE = 100


def simulate(accounts: Accounts, request: Request) -> dict[str, Any]:
    source = request.params["PolicySourceArn"]
    if source.endswith(":root") or ":assumed-role/" in source:
        raise AwsError("InvalidInput", f"Invalid Entity Arn: {source} does not clearly define entity type and name.")
    resources = request.members("ResourceArns") or ["*"]
    context = _context(request)
    results = []
    for action in request.members("ActionNames"):
        for resource in resources:
            verdict = accounts.decide(source, action, resource, context)
            results.append({
                "EvalActionName": action, "EvalResourceName": resource, "EvalDecision": verdict.decision,
                "MissingContextValues": list(verdict.missing_context), "MatchedStatements": [],
            })  # fmt: skip
    start = int(request.params.get("Marker", 0))
    rest = {"Marker": str(start + PAGE)} if start + PAGE < len(results) else {}
    return {"EvaluationResults": results[start : start + PAGE], "IsTruncated": bool(rest), **rest}


def _context(request: Request) -> dict[str, str]:
    context, number = {}, 1
    while (key := request.params.get(f"ContextEntries.member.{number}.ContextKeyName")) is not None:
        context[key] = request.params[f"ContextEntries.member.{number}.ContextKeyValues.member.1"]
        number += 1
    return context
