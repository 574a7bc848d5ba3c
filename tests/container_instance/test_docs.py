"""The generated parts of docs/pool-types/azure-container-instance.md are what the code says. POOLFORM_WRITE_DOCS=1."""

from __future__ import annotations

import json

import pytest
from generated import Page, fields, table

from poolform.core.terraform.render import render
from poolform.provisioners.container_instance.job_variables import ContainerInstanceJobVariables
from poolform.provisioners.container_instance.permissions import (
    AMBIENT,
    BY_TYPE,
    DIRECTORY_TYPES,
    LOOKING,
    PROVIDERS,
    role,
)
from poolform.provisioners.container_instance.pool_type import NOUNS, ContainerInstancePush
from poolform.provisioners.container_instance.variables import ContainerInstanceVariables

from .test_module import IDENTITY, PEOPLE, PLACE, SUBNET, WORKSPACE

PAGE = Page("pool-types/azure-container-instance.md")
MODELS = [("variables", ContainerInstanceVariables), ("job variables", ContainerInstanceJobVariables)]
WAYS = {
    "by default": {},
    "`credentials=key`": {"credentials": "key"},
    "`launcher_principal_ids`": {"launcher_principal_ids": PEOPLE},
    "`resource_group_name`": {"resource_group_name": "theirs"},
}


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_every_field_is_on_the_page(name, model):
    PAGE.compare(name, fields(model))


def test_every_resource_is_on_the_page_with_when_it_is_made():
    made = {}
    for way, variables in WAYS.items():
        values = ContainerInstanceVariables(**PLACE, **variables)
        made[way] = set(render(ContainerInstancePush(), values, pool_name="lab", pool_id="ab12cd34").addresses)
    addresses = sorted(set.union(*made.values()), key=lambda address: [*NOUNS].index(noun(address)))
    rows = [(f"`{address}`", *("yes" if address in made[way] else "" for way in WAYS)) for address in addresses]
    PAGE.compare("resources", table(("resource", *WAYS), *rows))


def noun(address):
    return address if address in NOUNS else address.partition(".")[0]


def test_every_permission_is_on_the_page():
    rows = [("for", "needs")]
    rows += [(f"`{kind}`", listed(actions)) for kind, actions in sorted(BY_TYPE.items())]
    entra = "registering applications in Microsoft Entra, such as `Application.ReadWrite.OwnedBy`"
    rows += [(f"`{kind}`", entra) for kind in DIRECTORY_TYPES]
    rows += [("`credentials=ambient`", listed(AMBIENT)), ("preflight itself", listed(LOOKING))]
    rows += [("every pool", f"registered: {listed(PROVIDERS)}")]
    PAGE.compare("permissions", table(*rows))


def test_what_the_launcher_may_is_on_the_page():
    everything = {"subnet_id": SUBNET, "log_analytics_workspace_id": WORKSPACE, "job_identity_ids": [IDENTITY]}
    PAGE.compare("launcher", "".join(f"- `{action}`\n" for action in actions(**everything)))


def actions(**variables):
    values = ContainerInstanceVariables(**PLACE, credentials="key", **variables)
    module = render(ContainerInstancePush(), values, pool_name="lab", pool_id="ab12cd34")
    lines = (line.strip(' ",') for line in module.files["launcher.tf"].splitlines())
    return [line for line in lines if line.startswith("Microsoft.") and "/" in line]


def listed(names):
    return ", ".join(f"`{name}`" for name in names)


def test_the_role_is_on_the_page():
    PAGE.compare("role", f"```json\n{json.dumps(role(), indent=2)}\n```\n")
