"""The generated parts of docs/pool-types/cloud-run.md are what the code says."""

from __future__ import annotations

import json

import pytest
from generated import Page, fields, table

from poolform.core.runs.jobs import base_job_template
from poolform.provisioners.cloud_run.job_variables import CloudRunJobVariables
from poolform.provisioners.cloud_run.nouns import NOUNS
from poolform.provisioners.cloud_run.permissions import BY_TYPE, KEYS, everything
from poolform.provisioners.cloud_run.pool_type import CloudRunPush
from poolform.provisioners.cloud_run.variables import CloudRunVariables

PAGE = Page("pool-types/cloud-run.md")


@pytest.mark.parametrize(("name", "model"), [("variables", CloudRunVariables), ("job variables", CloudRunJobVariables)])
def test_every_field_is_on_the_page(name, model):
    PAGE.compare(name, fields(model))


def test_every_permission_is_on_the_page():
    rows = [("for", "needs")]
    for kind, permissions in sorted(BY_TYPE.items()):
        rows.append((f"`{kind}`", listed(permissions)))
    rows.append(("`credentials=key`", f"{listed(KEYS)}; `orgpolicy.policy.get` to be told whether keys are forbidden"))
    PAGE.compare("permissions", table(*rows))


def listed(permissions):
    return ", ".join(f"`{permission}`" for permission in sorted(permissions))


def test_a_role_of_them_is_on_the_page():
    lines = "\n".join(f"- {permission}" for permission in sorted(everything()))
    PAGE.compare("role", f"```yaml\ntitle: Poolform provisioner\nincludedPermissions:\n{lines}\n```\n")


def test_every_resource_is_on_the_page():
    rows = [("resource", "what it is")]
    rows += [(f"`{key}`", _plain(noun)) for key, noun in NOUNS.items() if "." in key]
    rows += [(f"`{key}`", _plain(noun)) for key, noun in NOUNS.items() if _alone(key)]
    PAGE.compare("resources", table(*rows))


def _plain(noun):
    return noun.replace("activate-for-good", "activate").replace("{", "*").replace("}", "*")


def _alone(key):
    return "." not in key and not any(other.startswith(f"{key}.") for other in NOUNS)


@pytest.mark.parametrize("theirs", ["cloud-run", "cloud-run-v2"])
def test_every_job_variable_of_prefect_is_here_or_explained(theirs):
    source = PAGE.path.parents[2] / "tests" / "runs" / "base_job_templates" / f"{theirs}.json"
    known = json.loads(source.read_text())["variables"]["properties"]
    missing = known.keys() - base_job_template(CloudRunPush)["variables"]["properties"].keys()
    page = PAGE.path.read_text()
    assert [name for name in sorted(missing) if f"`{name}`" not in page] == []
