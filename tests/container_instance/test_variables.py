"""What a person may say about a pool on Azure, and what is refused before anything is touched."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from poolform.core.pools.conformance import contract_problems
from poolform.core.terraform.render import render
from poolform.provisioners.container_instance.permissions import BY_TYPE, DIRECTORY_TYPES
from poolform.provisioners.container_instance.pool_type import NOUNS, ContainerInstance, ContainerInstancePush
from poolform.provisioners.container_instance.variables import ContainerInstanceVariables

from .test_module import IDENTITY, PEOPLE, PLACE, SUBNET, WORKSPACE

NAMES = ("ARM_SUBSCRIPTION_ID", "AZURE_SUBSCRIPTION_ID", "AZURE_DEFAULTS_LOCATION", "ARM_ENVIRONMENT")


@pytest.mark.parametrize("pool_type", [ContainerInstancePush, ContainerInstance])
def test_the_contract_is_kept(pool_type):
    assert contract_problems(pool_type) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"subscription_id": "mine"}, "String should match"),
        ({"location": "West Europe"}, "String should match"),
        ({"location": '${file("/etc/passwd")}'}, "String should match"),
        ({"environment": "moon"}, "Input should be"),
        ({"credentials": "key", "launcher_principal_ids": PEOPLE}, "only used with credentials=ambient"),
        ({"launcher_principal_ids": [PEOPLE[0], PEOPLE[0]]}, "names one thing twice"),
        ({"job_identity_ids": [IDENTITY, IDENTITY.replace("reader", "READER")]}, "names one thing twice"),
        ({"resource_group_name": "ends with a dot."}, "String should match"),
        ({"subnet_id": SUBNET.removesuffix("/subnets/jobs")}, "String should match"),
        ({"log_analytics_workspace_id": SUBNET}, "String should match"),
        ({"registry_sku": "Tiny"}, "Input should be"),
        ({"tags": {"microsoft-x": "y"}}, "reserved"),
        ({"tags": {"Poolform-Pool-Id": "y"}}, "reserved"),
        ({"tags": {"a/b": "y"}}, "names of tags have"),
        ({"tags": {"a": "y" * 257}}, "at most 256"),
        ({"tags": {"a": "1", "A": "2"}}, "by their case"),
        ({"tags": {str(n): "" for n in range(49)}}, "Azure takes 50 tags"),
        ({"memory": 1}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        ContainerInstanceVariables(**{**PLACE, **given})


def test_defaults_come_from_where_azures_tools_take_them(tmp_path, monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path))
    assert ContainerInstancePush().discover() == {}
    other = "99999999-9999-4999-a999-999999999999"
    subscriptions = [{"id": other}, {"id": PLACE["subscription_id"], "isDefault": True}]
    # The command line writes a byte order mark in front.
    (tmp_path / "azureProfile.json").write_text(json.dumps({"subscriptions": subscriptions}), encoding="utf-8-sig")
    (tmp_path / "config").write_text("[defaults]\nlocation = WestEurope\n")
    assert ContainerInstancePush().discover() == PLACE
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", other)
    monkeypatch.setenv("AZURE_DEFAULTS_LOCATION", "northeurope")
    monkeypatch.setenv("ARM_ENVIRONMENT", "USGovernment")
    assert ContainerInstancePush().discover() == {
        "subscription_id": other, "location": "northeurope", "environment": "usgovernment",
    }  # fmt: skip
    for broken in ("[", '{"subscriptions": 3}', "[1]"):
        (tmp_path / "azureProfile.json").write_text(broken)
        (tmp_path / "config").write_bytes(b"\xff[[[")
        ContainerInstancePush().discover()


def module(**variables):
    values = ContainerInstanceVariables(**PLACE, **variables)
    return render(ContainerInstancePush(), values, pool_name="lab", pool_id="ab12cd34")


def test_every_resource_type_has_a_noun_and_its_permissions():
    made = set(module(credentials="key").resource_types)
    assert made == {name.partition(".")[0] for name in NOUNS}
    assert made == {*BY_TYPE, *DIRECTORY_TYPES}


def test_nothing_is_made_that_nobody_asked_for():
    assert module().resource_types == (
        "azurerm_container_registry", "azurerm_resource_group", "azurerm_role_assignment",
        "azurerm_user_assigned_identity",
    )  # fmt: skip
    assert "hashicorp/azuread" not in module().providers
    assert "hashicorp/azuread" in module(credentials="key").providers
    assert "azurerm_resource_group" not in module(resource_group_name="theirs").resource_types


def test_the_launchers_role_has_only_what_its_pool_takes():
    def actions(**variables):
        text = module(credentials="key", **variables).files["launcher.tf"]
        return {line.strip(' ",') for line in text.splitlines() if line.strip().startswith('"Microsoft.')}

    least = actions()
    assert not any("*" in action for action in least)
    assert {action.split("/")[0] for action in least} == {
        "Microsoft.ContainerInstance", "Microsoft.ManagedIdentity",
    }  # fmt: skip
    assert actions(subnet_id=SUBNET) - least == {"Microsoft.Network/virtualNetworks/subnets/join/action"}
    assert actions(log_analytics_workspace_id=WORKSPACE) - least == {
        "Microsoft.OperationalInsights/workspaces/read", "Microsoft.OperationalInsights/workspaces/sharedKeys/action",
    }  # fmt: skip
