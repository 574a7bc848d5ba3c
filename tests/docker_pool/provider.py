"""The part of kreuzwerker/docker that the module uses, as the provider's documentation and source have it.

https://registry.terraform.io/providers/kreuzwerker/docker/latest/docs/resources/network, …/volume, and the provider's
own schema: every argument of both forces a new resource, and neither can be changed in place.
"""

from __future__ import annotations

from poolform.testing.standin import Blocks, Computed, Optional, Required, Resource, schema

_LABELS = Blocks({"label": Required("string"), "value": Required("string")}, mode="set")

DOCKER = schema(
    "kreuzwerker/docker",
    version="3.6.2",
    provider={
        "host": Optional("string"),
        "context": Optional("string"),
        "ssh_opts": Optional(["list", "string"]),
        "ca_material": Optional("string"),
        "cert_material": Optional("string"),
        "key_material": Optional("string"),
        "cert_path": Optional("string"),
        "disable_docker_daemon_check": Optional("bool"),
    },
    resources={
        "docker_network": {
            "id": Computed("string"),
            "name": Required("string"),
            "driver": Optional("string", computed=True),
            "options": Optional(["map", "string"], computed=True),
            "internal": Optional("bool", computed=True),
            "attachable": Optional("bool"),
            "ingress": Optional("bool"),
            "ipv6": Optional("bool"),
            "ipam_driver": Optional("string"),
            "ipam_options": Optional(["map", "string"]),
            "scope": Computed("string"),
            "labels": _LABELS,
            "ipam_config": Blocks(
                {
                    "subnet": Optional("string"),
                    "ip_range": Optional("string"),
                    "gateway": Optional("string"),
                    "aux_address": Optional(["map", "string"]),
                },
                mode="set",
            ),
        },
        "docker_volume": {
            "id": Computed("string"),
            "name": Optional("string", computed=True),
            "driver": Optional("string", computed=True),
            "driver_opts": Optional(["map", "string"]),
            "mountpoint": Computed("string"),
            "labels": _LABELS,
        },
    },
)
BEHAVIOUR = {
    "docker_network": Resource(
        {"driver": "bridge", "options": {}, "internal": False, "scope": "local"},
        defaults={"ipam_driver": "default"},
        force_new="all",
        unique=("name",),
        conflict="Error response from daemon: network with name {name} already exists",
    ),
    # A volume is named by whoever makes it: the engine hands out an existing one as if it were new.
    "docker_volume": Resource(
        {"id": "{name}", "driver": "local", "mountpoint": "/var/lib/docker/volumes/{name}/_data"},
        force_new="all",
        unique=("name",),
        adopts=True,
    ),
}
