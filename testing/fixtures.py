"""pytest fixtures of the kit. In a conftest.py:

    pytest_plugins = ["poolform.testing.fixtures"]

They are not loaded by an entry point: everyone who has Poolform installed would import them with every pytest run,
and a suite should say where its fixtures come from.
"""  # noqa: D400 - the line to write is the summary

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Protocol

import pytest

# Before anything imports them, so that their plain asserts explain themselves.
pytest.register_assert_rewrite("poolform.testing.launchers", "poolform.testing.pool_types")

from poolform.testing.standin import Attached, Cloud, cli_config, install  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolform.testing.standin import Schema
    from poolform.testing.standin.behaviour import Given

_CLEARED = ("ARM_", "AWS_", "AZURE_", "CLOUDSDK_", "GCE_", "GCLOUD_", "GOOGLE_", "KUBE", "POOLFORM_", "TF_")
_KEPT = ("POOLFORM_TERRAFORM",)
"""Which Terraform to test with is the tester's choice."""


@pytest.fixture
def throwaway_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give Poolform an empty home, and an environment in which no cloud account and no Terraform setting is found.

    HOME itself stays: version managers that put `terraform` on the PATH look there.
    """
    home = tmp_path / "poolform-home"
    home.mkdir(mode=0o700)
    for name in [name for name in os.environ if name.startswith(_CLEARED) and name not in _KEPT]:
        monkeypatch.delenv(name)
    config = tmp_path / "terraform.rc"
    config.write_text("")
    nowhere = tmp_path / "nowhere"
    settings = {
        "POOLFORM_HOME": home,
        "TF_CLI_CONFIG_FILE": config,
        "CHECKPOINT_DISABLE": "1",  # Terraform's question whether it is up to date
        "AWS_CONFIG_FILE": nowhere / "aws-config",
        "AWS_SHARED_CREDENTIALS_FILE": nowhere / "aws-credentials",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AZURE_CONFIG_DIR": nowhere / "azure",
        "CLOUDSDK_CONFIG": nowhere / "gcloud",
        "KUBECONFIG": nowhere / "kubeconfig",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    return home


class StandinFactory(Protocol):
    """What the fixture `standin` is: call it with a schema, get the cloud behind it."""

    def __call__(self, *schemas: Schema, behaviour: Given = None, installed: bool = False) -> Cloud:
        """Let Terraform find stand-ins for these providers, and return the cloud that they share.

        `behaviour` is for the resource types of all of them. They run in this process; with `installed` from a
        mirror, in processes of their own, and `behaviour` must then be a `package.module:NAME`.
        """


@pytest.fixture
def standin(throwaway_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandinFactory]:
    """Serve stand-in providers while the test runs; os.environ tells every Terraform started in it where they are."""
    del throwaway_home  # wanted for what it does
    attached: list[Attached] = []
    mirror = tmp_path / "mirror"

    def attach(schemas: tuple[Schema, ...], behaviour: Given) -> Cloud:
        cloud = Cloud()
        attached.extend(Attached(schema, cloud, behaviour) for schema in schemas)
        entries = {source: entry for server in attached for source, entry in server.reattach().items()}
        monkeypatch.setenv("TF_REATTACH_PROVIDERS", json.dumps(entries))
        return cloud

    def start(*schemas: Schema, behaviour: Given = None, installed: bool = False) -> Cloud:
        if not installed:
            return attach(schemas, behaviour)
        if behaviour is not None and not isinstance(behaviour, str):
            raise TypeError("The behaviour of an installed stand-in must be named: 'package.module:NAME'.")
        cloud = Cloud(tmp_path / "cloud.json")
        for schema in schemas:
            install(mirror, schema, cloud, behaviour)
        (tmp_path / "terraform.rc").write_text(cli_config(mirror))
        return cloud

    yield start
    for server in attached:
        server.close()
