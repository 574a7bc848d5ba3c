"""Small things that a pool's module asks of AWS and moto does not do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from clouds.aws.accounts import ACCOUNT
from clouds.aws.wire import AwsError

if TYPE_CHECKING:
    from clouds.aws.wire import Request


def associate_kms_key(request: Request) -> dict[str, Any]:
    _log_group(request).kms_key_id = request.params["kmsKeyId"]
    return {}


def disassociate_kms_key(request: Request) -> dict[str, Any]:
    _log_group(request).kms_key_id = None
    return {}


def forget_log_group_tags(request: Request) -> None:
    """moto keeps a group's tags for the next group of that name."""
    from moto.logs.models import logs_backends

    name = request.params["logGroupName"]
    arn = f"arn:aws:logs:{request.region}:{ACCOUNT}:log-group:{name}"
    tagger = logs_backends[ACCOUNT][request.region].tagger
    for known in (arn, f"{arn}:*"):
        tagger.delete_all_tags_for_resource(known)


def free_address_of_gateway(request: Request) -> None:
    """moto leaves a NAT gateway's address associated when the gateway goes; AWS frees it."""
    from moto.ec2.models import ec2_backends

    backend = ec2_backends[ACCOUNT][request.region]
    gateway = backend.nat_gateways.get(request.params["NatGatewayId"])
    for address in gateway.address_set if gateway is not None else ():
        for known in list(backend.addresses):
            if known.allocation_id == address.get("allocationId") and known.association_id:
                backend.disassociate_address(association_id=known.association_id)


def _log_group(request: Request) -> Any:
    from moto.logs.models import logs_backends

    group = logs_backends[ACCOUNT][request.region].groups.get(request.params["logGroupName"])
    if group is None:
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    return group


def body(request: Request) -> bytes:
    """What moto is handed: the request, with what AWS would take for granted spelt out."""
    if request.name == "ec2:ModifySecurityGroupRules":
        rules = {key.rsplit(".", 1)[0] for key, value in request.params.items() if value == "-1" and "Protocol" in key}
        ports = {f"{rule}.{end}": "-1" for rule in rules for end in ("FromPort", "ToPort")}
        return urlencode({"Action": request.action, **ports, **request.params}).encode()
    return request.body
