"""One Azure, and stand-ins of Terraform's providers over it, for all tests of Azure Container Instances."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from clouds.azure import SUBSCRIPTION, running

from poolform.provisioners.container_instance.pool_type import ContainerInstancePush
from poolform.provisioners.container_instance.variables import ContainerInstanceOutputs, ContainerInstanceVariables
from poolform.testing.fixtures import standin, throwaway_home
from poolform.testing.pool_types.trial import Trial
from poolform.testing.schemas import load
from poolform.testing.standin import Attached

__all__ = ["standin", "throwaway_home"]  # imported: `pytest_plugins` may stand only in a top-level conftest

FOREIGN = ("ARM_", "AZURE_", "TF_REATTACH", "REQUESTS_CA_BUNDLE")


@pytest.fixture(scope="session")
def azure(tmp_path_factory):
    with running(tmp_path_factory.mktemp("azure")) as made:
        yield made


@pytest.fixture(scope="session")
def stand_ins(azure):
    """The stand-ins of Terraform's providers, which work in this Azure's imaginary cloud."""
    attached = [Attached(load(name), azure.cloud) for name in ("azurerm", "azuread")]
    yield attached
    for server in attached:
        server.close()


@pytest.fixture(scope="session")
def providers(stand_ins):
    """What Terraform has to know to find them."""
    entries = {source: entry for server in stand_ins for source, entry in server.reattach().items()}
    return {"TF_REATTACH_PROVIDERS": json.dumps(entries)}


def become(monkeypatch, environment):
    """Be somebody in this process, and find nobody else's login."""
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def owner(azure, monkeypatch, tmp_path):
    """This process is the subscription's owner; trouble and scarcity end with the test."""
    become(monkeypatch, {**azure.environment, "AZURE_CONFIG_DIR": str(tmp_path / "no-az")})
    yield azure
    azure.faults.clear()
    groups = azure.groups
    groups.capacity = groups.capacity_later = True
    groups.cores, groups.memory_scale, groups.making, groups.stop_timeout = 10_000.0, 1.0, 0.1, 30.0
    groups.missing_images.clear()
    groups.unpullable_images.clear()
    groups.forget_creations()


def provision(folder, pool_id="ab12cd34", **variables):
    """Make a pool's infrastructure: the trial, its variables and its connection. Environment as in os.environ."""
    values = ContainerInstanceVariables(subscription_id=SUBSCRIPTION, location="westeurope", **variables)
    trial = Trial.start(ContainerInstancePush(), values, folder, pool_id=pool_id)
    outputs = ContainerInstanceOutputs.model_validate(dict(trial.provision()))
    return SimpleNamespace(
        trial=trial, variables=values, connection=ContainerInstancePush().connect(values, outputs), pool_id=pool_id
    )


@pytest.fixture(scope="session")
def as_owner(azure, providers, tmp_path_factory):
    """For fixtures that outlive a test: a context in which this process is the owner, and a folder to provision in."""
    root = tmp_path_factory.mktemp("session")
    (root / "terraform.rc").touch()

    @contextmanager
    def owning():
        with pytest.MonkeyPatch.context() as patch:
            become(patch, {**azure.environment, **providers})
            patch.setenv("POOLFORM_HOME", str(root / "home"))
            patch.setenv("TF_CLI_CONFIG_FILE", str(root / "terraform.rc"))
            patch.setenv("CHECKPOINT_DISABLE", "1")
            yield root

    return owning


@pytest.fixture(scope="session")
def pool(as_owner):
    """One pool whose launcher has a secret, for all tests that only use it: its connection and its credential."""
    pool_type = ContainerInstancePush()
    with as_owner() as root:
        made = provision(root / "pool", credentials="key")
        credential = pool_type.mint(made.variables, made.connection)
    return SimpleNamespace(**vars(made), credential=credential, settings=made.connection.settings)
