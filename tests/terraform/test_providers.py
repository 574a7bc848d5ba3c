"""Providers as Terraform installs them: which of their checksums are compared, and when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from poolform.core.errors import TerraformError
from poolform.core.pools.contract import Provider
from poolform.core.terraform.locate import Binary
from poolform.core.terraform.workspace import LOCK_FILE
from poolform.testing.standin import Cloud, Computed, Required, cli_config, install, schema

LAB = schema("acme/lab", resources={"lab_cluster": {"id": Computed("string"), "name": Required("string")}})
MAIN = 'resource "lab_cluster" "this" {\n  name = var.folder\n}\n'
OUTPUTS = 'output "folder" {\n  value = lab_cluster.this.name\n}\n'
LOCK = """\
# This file is maintained automatically by "terraform init".

provider "registry.terraform.io/acme/lab" {
  version     = "1.0.0"
  constraints = "~> 1.0"
  hashes = [
    "h1:one",
    "zh:two",
  ]
}
"""


@pytest.fixture
def installed(tmp_path, lab, pool_type):
    """Terraform over a module with a provider that an init of its own has installed."""
    cloud = Cloud(tmp_path / "cloud.json")
    install(tmp_path / "mirror", LAB, cloud)
    (tmp_path / "terraform.rc").write_text(cli_config(tmp_path / "mirror"))
    made = pool_type(main=MAIN, outputs=OUTPUTS, providers={"lab": Provider("acme/lab", "~> 1.0")})
    terraform = lab(made=made)
    terraform.prepare()
    return terraform


def test_a_provider_that_was_exchanged_neither_plans_nor_applies_nor_reads_anybody_s_plan(installed, tmp_path):
    """A plan that was just made is read back without a second comparison: by the provider that has just made it."""
    lock = installed.workspace.read(LOCK_FILE)
    assert "h1:" in lock
    plan = installed.plan()
    assert plan.summary() == "1 to create"
    assert installed.show() == plan
    assert installed.workspace.read(LOCK_FILE) == lock

    (program,) = (tmp_path / "mirror").rglob("terraform-provider-lab_v1.0.0")
    program.write_text(f"{program.read_text()}# exchanged\n")
    with pytest.raises(TerraformError, match=r"^terraform show failed: Error: registry\.terraform\.io/acme/lab: "):
        installed.show()
    for doing in (installed.show, installed.apply, installed.plan):
        with pytest.raises(TerraformError, match=r"(does not|doesn't) match any of the checksums"):
            doing()


def test_a_plan_that_cannot_be_read_from_its_file_alone_is_read_in_its_module(lab, stand_in):
    """As OpenTofu's encrypted ones, whose key is named in the module."""
    path = stand_in(
        'if [ "$1" != show ]; then exit 0; fi\n'
        'if [ ! -e terraform.tfvars.json ]; then echo "Error: no key" >&2; exit 1; fi\n'
        'echo \'{"format_version": "1.2", "terraform_version": "1.11.4"}\''
    )
    terraform = lab(binary=Binary((str(path),), "terraform", "1.11.4"), environ={"PATH": os.environ["PATH"]})
    terraform.workspace.put(LOCK_FILE, LOCK)
    assert terraform.plan().is_empty
    shown = [line for line in Path(f"{path}.argv").read_text().splitlines() if line.startswith("show")]
    assert shown == ["show -json ../plan.bin", "show -json plan.bin"]


def test_without_checksums_there_is_nothing_to_leave_out(lab, stand_in):
    path = stand_in('echo \'{"format_version": "1.2"}\'')
    terraform = lab(binary=Binary((str(path),), "terraform", "1.11.4"), environ={"PATH": os.environ["PATH"]})
    terraform.workspace.put(LOCK_FILE, LOCK.replace("  hashes = [", "  hashes=["))
    terraform.plan()
    assert "show -json plan.bin" in Path(f"{path}.argv").read_text().splitlines()
