"""Who the caller is to AWS, and whether it may do what a module needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolform.core.pools.contract import Finding, Identity
from poolform.provisioners.ecs import session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolform.provisioners.ecs.permissions import Permission

_WHO = "An administrator of the account {account} can grant it; docs/pool-types/ecs.md has the whole policy."
_BATCH = 50  # actions a call: more than a service has here, and far from the API's own limit
_AT_ONCE = 4  # calls: a dozen one after the other take AWS seconds, and all at once are more than IAM lets pass


def identify(region: str) -> Identity:
    """Return who the environment's AWS credentials belong to. Raises PoolformError when AWS does not accept them."""
    with session.sentences("Asking AWS who you are"):
        caller = session.Clients(region)["sts"].get_caller_identity()
    return Identity(principal=caller["Arn"], account=caller["Account"], region=region)


def check(region: str, permissions: Iterable[Permission]) -> Iterator[Finding]:
    """Yield what IAM says of each permission. Raises PoolformError when AWS does not accept the caller at all."""
    clients = session.Clients(region)
    with session.sentences("Asking AWS who you are"):
        caller = clients["sts"].get_caller_identity()
    arn, account = caller["Arn"], caller["Account"]
    if arn.endswith(":root"):
        yield Finding(arn, "allowed", "the root user may do anything that the organisation allows")
        return
    by_resource: dict[str, list[str]] = {}
    for permission in sorted(permissions, key=lambda item: (item.resource, item.action)):
        by_resource.setdefault(_filled(permission.resource, arn, account, region), []).append(permission.action)
    hint = _WHO.format(account=account)
    yield from _simulate(clients["iam"], _source(clients["iam"], arn), by_resource, hint)


def _simulate(iam: Any, source: str, by_resource: dict[str, list[str]], hint: str) -> Iterator[Finding]:
    from concurrent.futures import ThreadPoolExecutor

    from botocore.exceptions import BotoCoreError, ClientError

    questions = [
        (resource, actions[start : start + _BATCH])
        for resource, actions in by_resource.items()
        for start in range(0, len(actions), _BATCH)
    ]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        answers = threads.map(lambda question: _answer(iam, source, *question), questions)
        try:
            for (resource, _), results in zip(questions, answers, strict=True):
                yield from (_finding(result, resource, hint) for result in results)
        except (BotoCoreError, ClientError) as exc:
            text = session.error_text(exc) if isinstance(exc, ClientError) else str(exc)
            yield Finding("permissions", "unknown", f"they could not be checked: {text}")


def _answer(iam: Any, source: str, resource: str, actions: list[str]) -> list[dict[str, Any]]:
    pages = iam.get_paginator("simulate_principal_policy").paginate(
        PolicySourceArn=source, ActionNames=actions, ResourceArns=[resource]
    )
    return [result for page in pages for result in page["EvaluationResults"]]


def _finding(result: dict[str, Any], resource: str, hint: str) -> Finding:
    action, decision = result["EvalActionName"], result["EvalDecision"]
    if decision == "allowed":
        return Finding(action, "allowed")
    if decision == "implicitDeny" and result.get("MissingContextValues"):
        # A policy grants it under a condition that a simulation knows nothing of, such as a tag in the request.
        asked = ", ".join(result["MissingContextValues"])
        return Finding(action, "unknown", f"it depends on {asked}")
    why = "a policy denies it" if decision == "explicitDeny" else "no policy allows it"
    return Finding(action, "missing", f"{why} on {resource}", hint)


def _source(iam: Any, arn: str) -> str:
    """Return the user or role whose policies count; for a session of a role, the role with its path."""
    if ":assumed-role/" not in arn:
        return arn
    from botocore.exceptions import BotoCoreError, ClientError

    name = arn.split("/")[1]
    try:
        return str(iam.get_role(RoleName=name)["Role"]["Arn"])
    except (BotoCoreError, ClientError):
        # May not look; right for all roles but those with a path, such as those of IAM Identity Center.
        return arn.replace(":sts:", ":iam:", 1).replace(":assumed-role/", ":role/", 1).rsplit("/", 1)[0]


def _filled(resource: str, arn: str, account: str, region: str) -> str:
    partition = arn.split(":")[1]
    return resource.replace("PARTITION", partition).replace("REGION", region).replace("ACCOUNT", account)
