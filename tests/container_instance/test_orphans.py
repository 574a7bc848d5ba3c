"""What an interrupted apply left is found by the pool's id, and nobody else's things ever are."""

from __future__ import annotations

import pytest
from clouds.azure import SUBSCRIPTION
from clouds.azure.authorisation import Assignment

from poolform.provisioners.container_instance.pool_type import ContainerInstancePush
from poolform.provisioners.container_instance.variables import ContainerInstanceVariables

from .conftest import become, provision
from .test_module import IDENTITY, PEOPLE, PLACE, SUBNET

FULL = {"credentials": "key", "subnet_id": SUBNET, "job_identity_ids": [IDENTITY]}


def found(variables, pool_id, known=()):
    values = ContainerInstanceVariables(**PLACE, **variables)
    return {orphan.address: orphan.import_id for orphan in ContainerInstancePush().orphans(values, pool_id, known)}


@pytest.fixture(scope="module")
def pools(as_owner):
    """Two pools, and what is in the state of each: addresses and import ids as they should be found."""
    made = {}
    for pool_id, variables in (("aaaaaaaa", FULL), ("bbbbbbbb", {"launcher_principal_ids": PEOPLE})):
        with as_owner() as root:
            pool = provision(root / pool_id, pool_id, **variables)
        made[pool_id] = {address: attributes["id"] for address, _, attributes in pool.trial.state()}
    return made


@pytest.mark.slow
def test_everything_of_a_pool_is_found_and_nothing_of_another(pools, owner):
    assert found(FULL, "aaaaaaaa") == pools["aaaaaaaa"]
    assert found({"launcher_principal_ids": PEOPLE}, "bbbbbbbb") == pools["bbbbbbbb"]
    assert len(pools["aaaaaaaa"]) == 10
    for nobody in ("cccccccc", "aaaaaaa", "a"):
        assert found(FULL, nobody) == {}


def test_what_the_state_knows_is_left_out(pools, owner):
    known = [address for address in pools["aaaaaaaa"] if "azuread" not in address]
    assert set(found(FULL, "aaaaaaaa", known)) == {
        "azuread_application_registration.launcher", "azuread_service_principal.launcher",
    }  # fmt: skip


def test_only_what_the_module_has_a_place_for_is_adopted(pools, owner):
    assert set(found({}, "aaaaaaaa")) == {
        "azurerm_resource_group.this", "azurerm_container_registry.images", "azurerm_user_assigned_identity.pull",
        "azurerm_role_assignment.pull",
    }  # fmt: skip
    assert "azurerm_resource_group.this" not in found({"resource_group_name": "poolform-trial-aaaaaaaa"}, "aaaaaaaa")
    assert "azurerm_container_registry.images" in found({"resource_group_name": "poolform-trial-aaaaaaaa"}, "aaaaaaaa")


def test_a_group_that_only_looks_like_ours_is_not(pools, owner):
    """Tagged by somebody's hand, or found by a filter that was not understood: its name must end in the id, too."""
    id_ = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/theirs"
    owner.cloud.put(
        "azurerm_resource_group", id_, {"name": "theirs", "location": "x", "tags": {"poolform-pool-id": "dddddddd"}}
    )
    assert found({}, "dddddddd") == {}
    owner.cloud.delete("azurerm_resource_group", id_)


def test_who_may_not_list_adopts_what_can_be_seen(pools, azure, owner, monkeypatch):
    """Terraform then says by name what exists already."""
    environment = azure.principal("half-blind", ["Microsoft.Resources/subscriptions/read"], graph_roles=())
    become(monkeypatch, environment)
    assert found(FULL, "aaaaaaaa") == {}
    principal = azure.directory._principals[environment["ARM_CLIENT_ID"]]
    read = ("Microsoft.Resources/subscriptions/resourceGroups/read",)
    azure.roles.given.append(Assignment(principal.object_id, f"/subscriptions/{SUBSCRIPTION}", read))
    assert set(found(FULL, "aaaaaaaa")) == {"azurerm_resource_group.this"}
