"""One imaginary Google Cloud for the tests of Cloud Run: what Terraform makes there, and the APIs that use it."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from clouds.google import PROJECT, running

from poolform.provisioners.cloud_run.pool_type import CloudRunPush
from poolform.provisioners.cloud_run.variables import CloudRunVariables
from poolform.testing.fixtures import standin, throwaway_home
from poolform.testing.pool_types.trial import Trial
from poolform.testing.schemas import load
from poolform.testing.standin import Attached, Behaviour, Cloud

if TYPE_CHECKING:
    from pathlib import Path

    from poolform.core.pools.contract import Connection

__all__ = ["standin", "throwaway_home"]  # imported: `pytest_plugins` may stand only in a top-level conftest

REGION = "us-central1"
OWNER = "owner"
EMAIL = f"{OWNER}@{PROJECT}.iam.gserviceaccount.com"
BEHAVIOUR = Behaviour(data_sources={"google_client_openid_userinfo": {"id": EMAIL, "email": EMAIL}})
FOREIGN = ("GOOGLE_", "CLOUDSDK_", "GCLOUD_", "POOLFORM_GOOGLE", "TF_")


@dataclass(frozen=True)
class Lab:
    """The project, and the environment of its owner, whose Terraform finds the stand-in provider."""

    google: object
    provider: Attached
    owner: dict[str, str]
    folder: Path

    def person(self, name, permissions=None):
        """The environment of somebody else; None may do all."""
        return {**self.google.person(self.folder, name, permissions), **self.terraform}

    @property
    def terraform(self):
        return {"TF_REATTACH_PROVIDERS": json.dumps(self.provider.reattach())}


@contextmanager
def laboratory(folder, cloud=None):
    cloud = cloud or Cloud()
    provider = Attached(load("google"), cloud, BEHAVIOUR)
    with running(cloud) as google:
        google.jobs.stop_timeout = 1.0
        owner = google.person(folder, OWNER)
        lab = Lab(google, provider, owner, folder)
        yield Lab(google, provider, {**owner, **lab.terraform}, folder)
    provider.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    with laboratory(tmp_path_factory.mktemp("google")) as made:
        yield made


def become(monkeypatch, environment):
    for name in list(os.environ):
        if name.startswith(FOREIGN) and name != "TF_CLI_CONFIG_FILE":
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def owner(lab, monkeypatch):
    """This process is the project's owner."""
    become(monkeypatch, lab.owner)
    return lab.google


def provisioned(lab, folder, monkeypatch, *, pool_id, **variables) -> Connection:
    """Apply a pool's module as the owner, and return its connection."""
    become(monkeypatch, lab.owner)
    monkeypatch.setenv("POOLFORM_HOME", str(folder / "home"))
    values = CloudRunVariables(project=PROJECT, **variables)
    trial = Trial.start(CloudRunPush(), values, folder / pool_id, pool_id=pool_id)
    return CloudRunPush().connect(values, CloudRunPush.outputs(**trial.provision()))


@pytest.fixture(scope="session")
def pool(lab, tmp_path_factory):
    """One applied pool, whose launcher is acted as, for all tests that only use it."""
    with pytest.MonkeyPatch.context() as patch:
        return provisioned(lab, tmp_path_factory.mktemp("pool"), patch, pool_id="ab12cd34")
