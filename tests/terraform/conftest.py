"""A pool type on builtin resources only, rendered and driven by the real Terraform."""

from __future__ import annotations

import os

import pytest
from pydantic import Field

from poolform.core.pools.contract import Outputs, PoolType, Variables
from poolform.core.settings import Settings
from poolform.core.terraform.engine import Setup, Terraform
from poolform.core.terraform.locate import locate
from poolform.core.terraform.render import render
from poolform.core.terraform.workspace import Workspace

MAIN = """\
resource "terraform_data" "pool" {
  input = "${var.folder}/${var.pool_id}"
}

resource "terraform_data" "slow" {
  count = var.seconds > 0 ? 1 : 0

  provisioner "local-exec" {
    command = "sleep ${var.seconds}"
  }
}
"""
OUTPUTS = """\
output "folder" {
  value = terraform_data.pool.output
}
"""


class LabVariables(Variables):
    folder: str = Field("/lab", description="Where the lab is.")
    seconds: int = 0


class LabOutputs(Outputs):
    folder: str


class Heard:
    """A listener that remembers."""

    def __init__(self):
        self.events, self.notices, self.steps = [], [], []

    def on_resource(self, event):
        self.events.append(event)

    def on_notice(self, text):
        self.notices.append(text)

    def on_step(self, text):
        self.steps.append(text)


@pytest.fixture
def pool_type(tmp_path):
    """Return a factory of pool types with the given templates."""

    def make(main=MAIN, outputs=OUTPUTS, **attributes):
        folder = tmp_path / "templates"
        folder.mkdir(exist_ok=True)
        (folder / "main.tf.j2").write_text(main)
        (folder / "outputs.tf.j2").write_text(outputs)
        defaults = {
            "slug": "lab",
            "title": "Lab",
            "variables": LabVariables,
            "outputs": LabOutputs,
            "templates": folder,
            "launcher": lambda self, connection, credential: None,
        }
        return type("Lab", (PoolType,), {**defaults, **attributes})()

    return make


@pytest.fixture
def settings():
    return Settings.from_environment()


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def lab(pool_type, settings, heard):
    """Return a factory: Terraform over a workspace that holds the lab's module with these variables."""

    def make(place="workspace", environ=os.environ, binary=None, made=None, **variables):
        made = made or pool_type()
        module = render(made, made.variables(**variables), pool_name="my-pool", pool_id="ab12cd34")
        workspace = Workspace(settings.folder() / place)
        workspace.write(module.files)
        setup = Setup(binary or locate(settings), settings, environ, heard)
        terraform = Terraform(setup, workspace, module)
        terraform.workspace = workspace
        terraform.module = module
        return terraform

    return make


@pytest.fixture
def stand_in(tmp_path):
    """Return a factory: an executable that calls itself Terraform, remembers its command line and runs `body`."""

    def make(body="", version="Terraform v1.11.4"):
        path = tmp_path / f"terraform-{len(list(tmp_path.iterdir()))}"
        path.write_text(
            f'#!/bin/sh\nif [ "$1" = version ]; then echo "{version}"; exit 0; fi\n'
            f'printf "%s\\n" "$*" >> {path}.argv\nenv > {path}.env\n{body}\n'
        )
        path.chmod(0o755)
        return path

    return make
