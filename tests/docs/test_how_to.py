"""What the how-tos say of names, settings and options is so; what they show of Python runs."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

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
            ("c", "create", {"tags": None}),
            ("none", "create", {}),
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


def test_systemd_understands_the_unit(tmp_path):
    """With executables and a user that this machine has: it looks for these, too."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze here")
    (unit,) = blocks("how-to/run-workers-with-systemd.md", "ini")
    unit = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", unit, flags=re.MULTILINE)
    (tmp_path / "poolform-worker@.service").write_text(unit.replace("User=poolform", "User=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "poolform-worker@.service"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if "poolform-worker" in line] == []
    assert done.returncode == 0, done.stderr


_WORDS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_LENGTH = {"type": "string", "pattern": "^[0-9]+(s|m|h)$"}
_CHECK = {
    "type": "object",
    "required": ["test"],
    "additionalProperties": False,
    "properties": {"test": _WORDS, "interval": _LENGTH, "timeout": _LENGTH, "retries": {"type": "integer"}},
}
COMPOSE = {
    # As far as the page uses it: https://github.com/compose-spec/compose-spec/blob/main/spec.md
    "type": "object",
    "required": ["services"],
    "additionalProperties": False,
    "properties": {
        "volumes": {"type": "object", "additionalProperties": {"type": "null"}},
        "services": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    **{name: {"type": "string"} for name in ("image", "build")},
                    "command": _WORDS,
                    "environment": {"type": "object", "additionalProperties": {"type": "string"}},
                    "volumes": _WORDS,
                    "healthcheck": _CHECK,
                    "deploy": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
                    "depends_on": {
                        "type": "object",
                        "additionalProperties": {
                            "properties": {"condition": {"enum": ["service_started", "service_healthy"]}}
                        },
                    },
                    "init": {"type": "boolean"},
                    "stop_grace_period": _LENGTH,
                    "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
                },
            },
        },
    },
}


@pytest.fixture
def compose():
    (text,) = blocks("how-to/run-workers-with-compose.md", "yaml")
    return yaml.safe_load(text)


def test_the_compose_file_is_one(compose, tmp_path):
    jsonschema.validate(compose, COMPOSE)
    for service in compose["services"].values():
        named = {mount.partition(":")[0] for mount in service.get("volumes", ())}
        assert named <= set(compose["volumes"])
        assert set(service.get("depends_on", ())) <= set(compose["services"])
    known = Settings.from_environment.__doc__
    for name in compose["services"]["worker"]["environment"]:
        assert name == "POOLFORM_SECRET_KEYS" or name.removeprefix("POOLFORM") in known
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        (tmp_path / "compose.yaml").write_text(yaml.safe_dump(compose))
        env = {"PATH": "/usr/bin:/bin", "POSTGRES_PASSWORD": "x", "POOLFORM_SECRET_KEYS": "x"}
        subprocess.run(["docker", "compose", "config", "--quiet"], cwd=tmp_path, env=env, check=True)


def test_the_compose_file_s_worker_starts_and_its_health_check_works(compose, poolform):
    worker = compose["services"]["worker"]
    (_, *command) = worker["command"]
    missing = poolform(*command, "--pool", "nowhere")
    assert (missing.code, "There is no work pool named nowhere." in missing.err) == (2, True), missing.err
    drain = int(command[command.index("--drain") + 1])
    assert drain < 60 * int(worker["stop_grace_period"].removesuffix("m"))
    _, _, _, check = worker["healthcheck"]["test"]
    port = command[command.index("--health-port") + 1]
    assert f":{port}/health" in check
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, check=False).returncode != 0


def test_what_is_said_of_health_and_lateness_is_so():
    from poolform.core.dispatch import health
    from poolform.core.dispatch.tasks import Listener
    from poolform.core.dispatch.worker import Worker
    from poolform.core.store.runs import LATE_AFTER

    text = page("how-to/operate-workers.md")
    (shown,) = blocks("how-to/operate-workers.md", "json")
    assert list(yaml.safe_load(shown)) == list(health.report(Worker(None, None, None, listener=Listener())))
    assert f"due {LATE_AFTER:g} seconds ago" in text
