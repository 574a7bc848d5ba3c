"""What an interrupted apply left enters a plan as an import; what is gone meanwhile does not stop it."""

from __future__ import annotations

import pytest

from poolform.core.errors import NothingToImport
from poolform.core.pools.contract import Orphan, Provider
from poolform.core.terraform.diagnostics import Diagnostic, error_from
from poolform.core.terraform.workspace import IMPORTS_FILE
from poolform.testing.fixtures import standin, throwaway_home
from poolform.testing.schemas import load
from poolform.testing.standin import fail

__all__ = ["standin", "throwaway_home"]

ACCOUNTS = """\
provider "google" {
  project = "p-1"
}

resource "google_service_account" "each" {
  for_each   = toset(["runner", "builder", "reader"])
  account_id = each.key
}
"""
OUTPUTS = """\
output "folder" {
  value = "/lab"
}
"""
RUNNER, BUILDER, READER = (f'google_service_account.each["{name}"]' for name in ("runner", "builder", "reader"))


@pytest.fixture
def cloud(standin):
    return standin(load("google"))


@pytest.fixture
def terraform(cloud, lab, pool_type):
    providers = {"google": Provider("hashicorp/google", ">= 6")}
    made = lab(made=pool_type(ACCOUNTS, OUTPUTS, providers=providers))
    made.prepare()
    return made


def actions(plan):
    return {change.address: change.action for change in plan.changes}


def test_what_is_there_is_adopted_and_what_is_gone_is_made(cloud, terraform):
    terraform.plan()
    terraform.apply()
    name = cloud.objects()["google_service_account"]
    (builder,) = (key for key in name if "builder" in key)
    (terraform.workspace.path / "terraform.tfstate").unlink()
    for gone in (key for key in tuple(name) if key != builder):
        cloud.delete("google_service_account", gone)
    others = {RUNNER: builder.replace("builder", "runner"), READER: builder.replace("builder", "reader")}
    orphans = [Orphan(BUILDER, builder), *(Orphan(address, import_id) for address, import_id in others.items())]
    plan = terraform.plan(adopt=orphans)
    assert actions(plan) == {RUNNER: "create", BUILDER: "import", READER: "create"}
    assert terraform.workspace.read(IMPORTS_FILE).count("import {") == 1
    terraform.apply()
    assert cloud.counts() == {"google_service_account": 3}

    (terraform.workspace.path / "terraform.tfstate").unlink()
    cloud.delete("google_service_account", builder)
    assert actions(terraform.plan(adopt=orphans[:1]))[BUILDER] == "create"
    assert terraform.workspace.read(IMPORTS_FILE) is None


def test_what_is_half_made_says_so_and_is_nobodys_drift(cloud, terraform):
    cloud.inject(fail("create", "google_service_account", when="after", where={"account_id": "runner"}))
    terraform.plan()
    with pytest.raises(Exception, match="asked to fail"):
        terraform.apply()
    (change,) = terraform.plan().changes
    assert change.is_half_made
    assert change.sentence({}).startswith("Replace the service account")
    assert change.sentence({}).endswith(", because making it was cut off or failed half way")


def test_other_errors_beside_it_are_not_hidden():
    gone = 'While attempting to import an existing object to "a_b.c", the provider detected that no object exists.'
    missing = Diagnostic("error", "Cannot import non-existent remote object", gone)
    error = error_from("plan", [missing, missing], [])
    assert isinstance(error, NothingToImport)
    assert error.addresses == {"a_b.c"}
    assert not isinstance(error_from("plan", [missing, Diagnostic("error", "Denied")], []), NothingToImport)
