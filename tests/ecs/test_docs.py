"""The generated parts of docs/pool-types/ecs.md are what the code says. POOLFORM_WRITE_DOCS=1 writes them anew."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from poolform.provisioners.ecs.job_variables import EcsJobVariables
from poolform.provisioners.ecs.permissions import BY_TYPE, GIVEN_NETWORK, KEYS, everything, policy
from poolform.provisioners.ecs.variables import EcsVariables

WRITE = "POOLFORM_WRITE_DOCS" in os.environ  # before a test's own home takes every POOLFORM_ variable away
PAGE = Path(__file__).parents[2] / "docs" / "pool-types" / "ecs.md"


def section(name):
    """What the page has between the marks."""
    return re.search(rf"<!-- generated: {name} -->\n(.*?)<!-- end -->", PAGE.read_text(), re.DOTALL)[1]


def compare(name, text):
    if WRITE:
        page = PAGE.read_text()
        start = page.index(f"<!-- generated: {name} -->\n") + len(f"<!-- generated: {name} -->\n")
        PAGE.write_text(page[:start] + text + page[page.index("<!-- end -->", start) :])
    assert section(name) == text, "run the tests with POOLFORM_WRITE_DOCS=1, and look at what changed"


def table(*rows):
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join((head, "|" + "---|" * len(rows[0]), *rest)) + "\n"


def fields(model):
    schema = model.model_json_schema()
    rows = [("name", "default", "what it is")]
    for name, field in schema["properties"].items():
        default = field.get("default")
        shown = (
            "required"
            if name in schema.get("required", ())
            else ""
            if default in (None, [], {})
            else f"`{default if isinstance(default, str) else json.dumps(default)}`"
        )
        rows.append((f"`{name}`", shown, field["description"].replace("|", "\\|")))
    return table(*rows)


@pytest.mark.parametrize(("name", "model"), [("variables", EcsVariables), ("job variables", EcsJobVariables)])
def test_every_field_is_on_the_page(name, model):
    compare(name, fields(model))


def test_every_permission_is_on_the_page():
    rows = [("for", "needs")]
    for kind, permissions in sorted(BY_TYPE.items()):
        rows.append((f"`{kind}`", listed(permissions)))
    rows += [("an existing network", listed(GIVEN_NETWORK)), ("`credentials=key`", listed(KEYS))]
    compare("permissions", table(*rows))


def listed(permissions):
    return ", ".join(f"`{action}`" for action in sorted({permission.action for permission in permissions}))


def test_the_policy_is_on_the_page():
    compare("policy", f"```json\n{json.dumps(policy(everything()), indent=2)}\n```\n")
