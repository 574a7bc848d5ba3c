"""What the how-tos say of names, settings and options is so; what they show of Python runs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from poolform.core.settings import Settings
from poolform.core.terraform.plan import read_plan
from poolform.core.terraform.providers import _NOT_INHERITED, _SECRET_SETTINGS, BACKENDS

DOCS = Path(__file__).parents[2] / "docs"


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name, language="python"):
    return re.findall(rf"^```{language}\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)


def test_the_review_that_the_page_shows_does_what_it_says():
    (code,) = blocks("how-to/veto-plans.md")
    names = {}
    exec(compile(code, "veto-plans.md", "exec"), names)
    changes = [
        {"address": f"x_y.{name}", "type": "x_y", "name": name, "change": {"actions": [action], "after": after}}
        for name, action, after in (
            ("a", "create", {"tags": {"owner": "me"}}),
            ("b", "create", {"tags": {}}),
            ("c", "create", {}),
            ("d", "delete", None),
        )
    ]
    plan = read_plan({"format_version": "1.2", "resource_changes": changes})
    assert [review.address for review in names["poolform_review_plan"](None, plan)] == ["x_y.b", "x_y.c"]


@pytest.mark.parametrize("name", ["how-to/test-a-launcher.md", "reference/compatibility.md", "tutorial.md"])
def test_what_a_contract_is_told_is_what_it_asks_for(name):
    import poolform.testing

    text = re.sub(r' title="[^"]*"$', "", page(name), flags=re.MULTILINE)
    found = 0
    for code in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            based_on = [base.id for base in getattr(node, "bases", ()) if isinstance(base, ast.Name)]
            if not set(based_on) & {"LauncherContract", "PoolTypeContract"}:
                continue
            contract = getattr(poolform.testing, based_on[0])
            told = [target.id for item in node.body if isinstance(item, ast.Assign) for target in item.targets]
            told += [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
            known = {*dir(contract), *(n for owner in contract.__mro__ for n in getattr(owner, "__annotations__", ()))}
            assert set(told) <= known, f"{contract.__name__} has no such thing"
            found += 1
    assert found


def test_the_schema_that_the_page_shows_can_be_read():
    (code,) = (block for block in blocks("how-to/test-a-launcher.md") if "FOG = " in block)
    written = code.partition("class TestFog")[0]
    names = {}
    exec(compile(written, "test-a-launcher.md", "exec"), names)
    assert names["FOG"].name == "fog"
    names["Resource"](computed={"id": "clusters/{name}"}, unique=("name",))


def test_every_backend_and_its_secrets_are_told():
    text = page("how-to/keep-state-in-a-backend.md")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(BACKENDS) - {"local"}
    told = set(re.findall(r"`([A-Z][A-Z_]+)`", text))
    assert told <= set(_SECRET_SETTINGS.values())


def test_every_setting_is_told():
    text = page("reference/environment.md")
    read = re.findall(r"_[A-Z_]+(?=[,. (])", Settings.from_environment.__doc__.replace("POOLFORM_HOME", "_HOME"))
    assert read
    assert [name for name in read if f"`POOLFORM{name}`" not in text] == []
    kept = [name for name in re.findall(r"`(TF_\w+)\*?`", text) if not _NOT_INHERITED.match(name)]
    assert kept == [], "Terraform does get these"


def test_the_unit_starts_a_worker(poolform):
    (unit,) = blocks("how-to/run-workers-with-systemd.md", "ini")
    (command,) = re.findall(r"^ExecStart=\S+/poolform (.+)$", unit, re.MULTILINE)
    words = command.replace("%i", "nowhere").replace("%H", "host").split()
    result = poolform(*words)
    assert (result.code, "There is no work pool named nowhere." in result.err) == (2, True), result.err
