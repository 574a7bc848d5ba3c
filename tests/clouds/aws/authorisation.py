"""Which IAM actions, on which resources, one API call has to be allowed; more than its own name, often.

From the Service Authorization Reference (https://docs.aws.amazon.com/service-authorization/latest/reference/) and the
ECS, ECR and Systems Manager guides. EC2 is checked against `*`: its actions take resources that do not exist yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clouds.aws.accounts import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clouds.aws.wire import Request

TASKS = "ecs-tasks.amazonaws.com"


@dataclass(frozen=True)
class Need:
    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)


def needs(request: Request, definitions: Mapping[str, Any]) -> list[Need]:
    """What `request` needs; `definitions` are the known task definitions by ARN."""
    service = _SERVICES.get(request.service)
    if service is None:
        return [Need(request.name)]
    return list(service(request, definitions))


def _arn(request: Request, service: str, resource: str) -> str:
    region = "" if service == "iam" else request.region
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


def _tags(tags: Any, key: str = "key", value: str = "value") -> dict[str, str]:
    pairs = tags.items() if isinstance(tags, dict) else [(tag[key], tag[value]) for tag in tags or ()]
    return {f"aws:RequestTag/{name}": text for name, text in pairs}


def _ecs(request: Request, definitions: Mapping[str, Any]) -> Iterator[Need]:
    params, action = request.params, request.action
    named = params.get("cluster") or params.get("clusterName") or next(iter(params.get("clusters") or ()), "default")
    cluster = str(named).rsplit("/", 1)[-1]
    here = {"ecs:cluster": _arn(request, "ecs", f"cluster/{cluster}")}
    tags = _tags(params.get("tags"))
    if action == "RunTask":
        definition = definitions.get(params["taskDefinition"], {})
        yield Need("ecs:RunTask", params["taskDefinition"], here | tags)
        yield from _pass_roles(definition)
        yield from _pass_roles(params.get("overrides", {}))
        if tags:
            created = {"ecs:CreateAction": "RunTask"}
            yield Need("ecs:TagResource", _arn(request, "ecs", f"task/{cluster}/new"), created | tags)
    elif action == "RegisterTaskDefinition":
        yield Need("ecs:RegisterTaskDefinition", "*", tags)
        yield from _pass_roles(params)
        if tags:
            resource = _arn(request, "ecs", f"task-definition/{params['family']}:0")
            yield Need("ecs:TagResource", resource, {"ecs:CreateAction": action} | tags)
    elif action == "DeleteTaskDefinitions":
        for arn in params["taskDefinitions"]:
            yield Need("ecs:DeleteTaskDefinitions", arn)
    elif action in ("DescribeTasks", "StopTask"):
        for task in params.get("tasks") or [params.get("task")]:
            resource = task if task.startswith("arn:") else _arn(request, "ecs", f"task/{cluster}/{task}")
            yield Need(request.name, resource, here)
    elif action == "ListTasks":
        yield Need("ecs:ListTasks", _arn(request, "ecs", f"container-instance/{cluster}/*"), here)
    elif action in (
        "DescribeTaskDefinition",
        "DeregisterTaskDefinition",
        "ListTaskDefinitions",
        "ListTaskDefinitionFamilies",
    ):
        yield Need(request.name)
    elif action in ("ListTagsForResource", "TagResource", "UntagResource"):
        yield Need(request.name, params["resourceArn"])
    else:
        yield Need(request.name, here["ecs:cluster"], tags)
        if tags:
            yield Need("ecs:TagResource", here["ecs:cluster"], {"ecs:CreateAction": action} | tags)
        if action == "CreateCluster":
            role = _arn(request, "iam", "role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS")
            yield Need("iam:CreateServiceLinkedRole", role, {"iam:AWSServiceName": "ecs.amazonaws.com"})


def _pass_roles(holder: Mapping[str, Any]) -> Iterator[Need]:
    for key in ("executionRoleArn", "taskRoleArn"):
        if holder.get(key):
            yield Need("iam:PassRole", holder[key], {"iam:PassedToService": TASKS})


def _logs(request: Request, definitions: Mapping[str, Any]) -> Iterator[Need]:
    params = request.params
    if "resourceArn" in params:
        yield Need(request.name, params["resourceArn"])
        return
    if request.action == "DescribeLogGroups":
        yield Need(request.name)
        return
    group = params["logGroupName"]
    resource = _arn(request, "logs", f"log-group:{group}")
    if "logStreamName" in params:
        resource += f":log-stream:{params['logStreamName']}"
    yield Need(request.name, resource)
    if request.action == "CreateLogGroup" and params.get("tags"):
        yield Need("logs:TagResource", resource)


def _ssm(request: Request, definitions: Mapping[str, Any]) -> Iterator[Need]:
    params = request.params
    names = params.get("Names") or [params.get("Name") or params.get("Path")]
    for name in names:
        yield Need(request.name, _arn(request, "ssm", f"parameter/{str(name).strip('/')}"))
    if request.action == "PutParameter":
        resource = _arn(request, "ssm", f"parameter/{params['Name'].strip('/')}")
        if params.get("Tags"):
            yield Need("ssm:AddTagsToResource", resource)
        if params.get("KeyId"):
            yield Need("kms:Encrypt", params["KeyId"], {"kms:ViaService": f"ssm.{request.region}.amazonaws.com"})


def _ecr(request: Request, definitions: Mapping[str, Any]) -> Iterator[Need]:
    params = request.params
    if request.action == "GetAuthorizationToken":
        yield Need(request.name)
        return
    name = params.get("repositoryName") or next(iter(params.get("repositoryNames") or ["*"]))
    resource = params.get("resourceArn") or _arn(request, "ecr", f"repository/{name}")
    yield Need(request.name, resource)
    if request.action == "CreateRepository":
        if params.get("tags"):
            yield Need("ecr:TagResource", resource)
        key = (params.get("encryptionConfiguration") or {}).get("kmsKey")
        if key:
            yield Need("kms:CreateGrant", key)
            yield Need("kms:DescribeKey", key)


_IAM_KINDS = {"RoleName": "role", "UserName": "user", "PolicyName": "policy"}


def _iam(request: Request, definitions: Mapping[str, Any]) -> Iterator[Need]:
    params, action = request.params, request.action
    resource = "*"
    for key, kind in _IAM_KINDS.items():
        if key in params and not (key == "PolicyName" and resource != "*"):
            resource = _arn(request, "iam", f"{kind}/{params[key]}")
    if "PolicyArn" in params and resource == "*":
        resource = params["PolicyArn"]
    if action == "SimulatePrincipalPolicy":
        resource = params["PolicySourceArn"]
    yield Need(request.name, resource)
    if action in ("CreateRole", "CreateUser", "CreatePolicy") and request.members("Tags") + [
        key for key in params if key.startswith("Tags.")
    ]:
        yield Need(f"iam:Tag{action.removeprefix('Create')}", resource)


def _kms(request: Request, definitions: Mapping[str, Any]) -> Iterator[Need]:
    params = request.params
    key = params.get("KeyId") or params.get("TargetKeyId")
    resource = key if str(key).startswith("arn:") else _arn(request, "kms", f"key/{key}")
    if request.action in ("CreateKey", "ListAliases"):
        yield Need(request.name)
        if params.get("Tags"):
            yield Need("kms:TagResource", _arn(request, "kms", "key/new"))
        return
    if "AliasName" in params:
        yield Need(request.name, _arn(request, "kms", params["AliasName"]))
    if key:
        yield Need(request.name, resource)


def _ec2(request: Request, definitions: Mapping[str, Any]) -> Iterator[Need]:
    yield Need(request.name)
    if any(key.startswith("TagSpecification.1.Tag") for key in request.params):
        yield Need("ec2:CreateTags")


def _sts(request: Request, definitions: Mapping[str, Any]) -> Iterator[Need]:
    # Anyone may ask who they are; AssumeRole is the role's trust policy's to decide.
    return iter(())


def _s3(request: Request, definitions: Mapping[str, Any]) -> Iterator[Need]:
    yield Need(request.name, f"arn:aws:s3:::{request.params['path'].strip('/')}")


_SERVICES = {
    "ecs": _ecs, "logs": _logs, "ssm": _ssm, "ecr": _ecr, "iam": _iam, "kms": _kms, "ec2": _ec2, "sts": _sts, "s3": _s3,
}  # fmt: skip
