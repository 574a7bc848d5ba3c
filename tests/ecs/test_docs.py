"""The generated parts of docs/pool-types/ecs.md are what the code says. POOLFORM_WRITE_DOCS=1 writes them anew."""

from __future__ import annotations

import json

import pytest
from generated import Page, fields, table

from poolform.provisioners.ecs.job_variables import EcsJobVariables
from poolform.provisioners.ecs.permissions import BY_TYPE, GIVEN_NETWORK, KEYS, everything, policy
from poolform.provisioners.ecs.variables import EcsVariables

PAGE = Page("pool-types/ecs.md")


@pytest.mark.parametrize(("name", "model"), [("variables", EcsVariables), ("job variables", EcsJobVariables)])
def test_every_field_is_on_the_page(name, model):
    PAGE.compare(name, fields(model))


def test_every_permission_is_on_the_page():
    rows = [("for", "needs")]
    for kind, permissions in sorted(BY_TYPE.items()):
        rows.append((f"`{kind}`", listed(permissions)))
    rows += [("an existing network", listed(GIVEN_NETWORK)), ("`credentials=key`", listed(KEYS))]
    PAGE.compare("permissions", table(*rows))


def listed(permissions):
    return ", ".join(f"`{action}`" for action in sorted({permission.action for permission in permissions}))


def test_the_policy_is_on_the_page():
    PAGE.compare("policy", f"```json\n{json.dumps(policy(everything()), indent=2)}\n```\n")
