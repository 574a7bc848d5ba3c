"""Who calls, and what moto's IAM says that they may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clouds.aws import policy
from clouds.aws.wire import AwsError, Request

ACCOUNT = "123456789012"
PARTITION = "aws"


@dataclass(frozen=True)
class Caller:
    """`arn` as GetCallerIdentity has it; `source` the user or role whose policies count."""

    arn: str
    source: str


class Accounts:
    """moto's IAM and STS of one account, read in place."""

    def caller(self, request: Request) -> Caller:
        key = request.access_key
        if key is None:
            raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        for role in self._sts.assumed_roles:
            if role.access_key_id == key:
                if role.expiration.replace(tzinfo=UTC) < datetime.now(UTC):
                    raise AwsError("ExpiredToken", "The security token included in the request is expired", 403)
                return Caller(role.arn, role.role_arn)
        for user in self._iam.users.values():
            if any(own.access_key_id == key for own in user.access_keys):
                return Caller(user.arn, user.arn)
        code = "InvalidClientTokenId" if request.service in ("iam", "sts") else "UnrecognizedClientException"
        if request.service == "ec2":
            code = "AuthFailure"
        raise AwsError(code, "The security token included in the request is invalid.", 403)

    def decide(self, source: str, action: str, resource: str, context: policy.Context) -> policy.Verdict:
        documents, boundary = self._policies(source)
        return policy.decide(documents, boundary, action, resource, context)

    def trusts(self, role_arn: str, caller: Caller) -> bool:
        """Whether a role's trust policy lets this caller in; the account itself stands for all that may assume."""
        for statement in policy.principals(self.role(role_arn).assume_role_policy_document):
            if statement["Effect"] != "Allow" or "sts:AssumeRole" not in policy.listed(statement["Action"]):
                continue
            for principal in policy.listed(statement.get("Principal", {}).get("AWS", [])):
                if principal in (caller.arn, caller.source):
                    return True
                if principal in (ACCOUNT, f"arn:{PARTITION}:iam::{ACCOUNT}:root"):
                    return self.decide(caller.source, "sts:AssumeRole", role_arn, {}).decision == "allowed"
        return False

    def serves(self, role_arn: str, service: str, context: policy.Context) -> bool:
        """Whether a role's trust policy lets a service use it."""
        for statement in policy.principals(self.role(role_arn).assume_role_policy_document):
            if service in policy.listed(statement.get("Principal", {}).get("Service", [])):
                holds, _ = policy._conditions(statement.get("Condition", {}), context)
                return holds
        return False

    def role(self, arn: str) -> Any:
        for role in self._iam.roles.values():
            if role.arn == arn:
                return role
        raise AwsError("NoSuchEntity", f"The role with name {arn.rsplit('/', 1)[-1]} cannot be found.", 404)

    def _policies(self, source: str) -> tuple[list[str], str | None]:
        holders = [*self._iam.users.values(), *self._iam.roles.values()]
        holder = next((holder for holder in holders if holder.arn == source), None)
        if holder is None:
            return [], None
        documents = list(holder.policies.values())
        documents += [_document(attached) for attached in holder.managed_policies.values()]
        # moto keeps a role's boundary, and answers for a user's without keeping it.
        arn = getattr(holder, "permissions_boundary_arn", None)
        boundary = _document(self._iam.managed_policies[arn]) if arn in self._iam.managed_policies else None
        return documents, boundary

    @property
    def _iam(self) -> Any:
        from moto.iam.models import iam_backends

        return iam_backends[ACCOUNT][PARTITION]

    @property
    def _sts(self) -> Any:
        from moto.sts.models import sts_backends

        return sts_backends[ACCOUNT][PARTITION]


def _document(managed: Any) -> str:
    return next(v.document for v in managed.versions if v.version_id == managed.default_version_id)
