"""The login for the pool's registry: Azure's token exchanged for one of the registry's own."""

from __future__ import annotations

import pytest

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Connection
from poolform.provisioners.container_instance import registry
from poolform.provisioners.container_instance.pool_type import ContainerInstancePush

from .conftest import become


def connection(azure, tenant):
    settings = {"environment": "public", "tenant_id": tenant}
    return Connection(settings=settings, image_namespace=azure.base.removeprefix("https://"))


def test_a_login_is_asked_for_as_whoever_deploys(owner):
    from clouds.azure import TENANT

    login = ContainerInstancePush().registry_login(connection(owner, TENANT))
    assert login.registry == owner.base.removeprefix("https://")
    assert login.username == "00000000-0000-0000-0000-000000000000"
    assert login.password == "registry-token-of-owner"
    assert login.password not in repr(login)


def test_who_is_not_let_in_is_told_so(azure, owner, monkeypatch):
    from clouds.azure import TENANT

    with pytest.raises(PoolformError, match="Getting a login for the pool's registry failed"):
        registry.login(connection(owner, "another-tenant"))
    become(monkeypatch, {**azure.environment, "ARM_CLIENT_SECRET": "wrong"})
    with pytest.raises(PoolformError, match="AADSTS7000215") as failed:
        registry.login(connection(azure, TENANT))
    assert "az login" in failed.value.hint


def test_names_are_repositories_of_the_registry():
    given = Connection(image_namespace="poolformlab.azurecr.io")
    assert registry.reference(given, "team/flows", "1") == "poolformlab.azurecr.io/team/flows:1"
