"""Name and version of a plugin are in every plan, record and error that it causes; and it can be left out."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from poolform.core.blocks import Blocks
from poolform.core.dispatch.tasks import Listener
from poolform.core.dispatch.wiring import make_worker
from poolform.core.plugins import load_plugins
from poolform.core.settings import Settings
from poolform.core.store.database import open_store

RUDE = """
import os
from pathlib import Path

from poolform import Connection, Finding, Outputs, PoolType, Review, Variables, hookimpl


class RudeVariables(Variables):
    raises_at: str = ""


class Rude(PoolType):
    slug = "rude"
    title = "Rude"
    variables = RudeVariables
    outputs = Outputs
    templates = Path(__file__).parent / "templates"
    nouns = {"terraform_data": "a shrug"}

    def _maybe(self, where, asked=None):
        if where in (asked, os.environ.get("RUDE_AT")):
            raise RuntimeError("no manners")

    def discover(self):
        self._maybe("discover")
        return {}

    def identity(self, variables):
        self._maybe("identity", variables.raises_at)

    def preflight(self, variables, resources):
        self._maybe("preflight", variables.raises_at)
        yield Finding("rude.be", "allowed")

    def connect(self, variables, outputs):
        self._maybe("connect", variables.raises_at)
        return Connection()

    def authenticate(self, connection, credential):
        self._maybe("authenticate")
        return Finding("rude.be", "allowed")

    def disconnect(self, connection, credential):
        self._maybe("disconnect")

    def launcher(self, connection, credential):
        raise RuntimeError("no manners")


@hookimpl
def poolform_pool_types():
    return [Rude]


@hookimpl
def poolform_review_plan(pool, plan):
    if "RUDE_REVIEW" in os.environ:
        answers = {"late": late, "word": lambda: "tut", "one": lambda: Review("error", "never")}
        return answers[os.environ["RUDE_REVIEW"]]()
    return [Review("warning", "manners are missing", "terraform_data.shrug")]


def late():
    yield Review("warning", "one")
    raise RuntimeError("no manners")
"""
LABEL = "rude (poolform-rude 1.2)"
CREATE = ("work-pool", "create", "p", "--type", "rude", "--provision-infra", "--yes")


@pytest.fixture
def run(poolform, tmp_path, monkeypatch):
    """Run the command line where poolform-rude 1.2 is installed, as far as Python's metadata can tell."""
    site = tmp_path / "site"
    (site / "poolform_rude-1.2.dist-info").mkdir(parents=True)
    about = site / "poolform_rude-1.2.dist-info"
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: poolform-rude\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text("[poolform]\nrude = rude\n")
    (site / "rude.py").write_text(RUDE)
    (site / "templates").mkdir()
    (site / "templates" / "main.tf.j2").write_text('resource "terraform_data" "shrug" {\n}\n')
    (site / "templates" / "outputs.tf.j2").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(site))
    return poolform


@pytest.mark.slow
def test_a_plan_names_the_plugin_and_its_version(run):
    text = run("work-pool", "create", "p", "--type", "rude", "--plan")
    assert "To provision the work pool p (rude, brought by poolform-rude 1.2), Poolform will:" in text.err
    assert f"Warning: terraform_data.shrug: manners are missing ({LABEL})\n" in text.err
    plan = run("work-pool", "create", "p", "--type", "rude", "--plan", "-o", "json").json
    assert (plan["plugin"], plan["plugin_version"]) == ("rude", "1.2")
    assert plan["warnings"] == [f"terraform_data.shrug: manners are missing ({LABEL})"]


@pytest.mark.slow
def test_records_name_the_plugin_and_its_version(run):
    assert run(*CREATE).code == 0
    record = run("work-pool", "inspect", "p", "-o", "json").json
    assert (record["plugin"], record["plugin_version"]) == ("rude", "1.2")
    assert "rude (revision 1, plugin rude 1.2)" in run("work-pool", "inspect", "p").out
    (entry,) = run("work-pool", "history", "p", "-o", "json").json
    assert entry["summary"]["plugin"] == LABEL
    assert {"type": "rude", "title": "Rude", "description": "", "plugin": LABEL} in run(
        "work-pool", "types", "-o", "json"
    ).json


@pytest.mark.slow
def test_a_pool_without_its_plugin_says_whose_it_was_and_can_go(run):
    assert run(*CREATE).code == 0
    kept = run("--no-plugins", "work-pool", "inspect", "p")
    assert (kept.code, "plugin rude 1.2" in kept.out) == (0, True)
    assert run("--no-plugins", "work-pool", "drift", "p").code == 0
    refused = run("--no-plugins", "work-pool", "provision-infra", "p")
    assert (refused.code, "rude" in refused.err, "1.2" in refused.err) == (2, True, True), refused.err
    gone = run("--no-plugins", "work-pool", "deprovision", "p", "--yes")
    assert gone.code == 0, gone.err
    assert "(rude, whose plugin rude 1.2 is not installed), Poolform will:" in gone.err


@pytest.mark.parametrize("where", ["identity", "preflight", "connect"])
def test_an_error_while_provisioning_names_the_plugin(run, where):
    result = run(*CREATE, "--set", f"raises_at={where}")
    said = f"Error: plugin {LABEL}: {where} of the pool type rude failed: RuntimeError: no manners.\n"
    assert (result.code, said in result.err, "fault" in result.err) == (1, True, False), result.err


@pytest.mark.parametrize(
    ("where", "command"),
    [
        ("discover", ("work-pool", "create", "q", "--type", "rude")),
        ("discover", ("work-pool", "types", "rude")),
        ("authenticate", ("work-pool", "drift", "p")),
        ("identity", ("work-pool", "plan", "p")),
        ("disconnect", ("work-pool", "deprovision", "p", "--yes")),
    ],
)
def test_an_error_later_on_names_the_plugin(run, where, command):
    assert run(*CREATE).code == 0
    result = run(*command, RUDE_AT=where)
    said = f"plugin {LABEL}: {where} of the pool type rude failed: RuntimeError: no manners."
    assert (result.code, said in result.err, "fault" in result.err) == (1, True, False), result.err


def test_an_error_in_a_template_names_the_plugin(run, tmp_path):
    (tmp_path / "site" / "templates" / "main.tf.j2").write_text("{{ variables.nobody }}\n")
    for command in (CREATE, ("work-pool", "render", "--type", "rude")):
        result = run(*command)
        assert result.code == 1
        assert f"Error: plugin {LABEL}: the pool type rude: template main.tf.j2 line 1: " in result.err


def test_doctor_names_the_plugin(run):
    assert run(*CREATE).code == 0
    doctor = run("doctor", RUDE_AT="authenticate")
    said = f"plugin {LABEL}: authenticate of the pool type rude failed: RuntimeError: no manners."
    assert (doctor.code, said in doctor.out) == (1, True), doctor.out


def test_a_worker_that_cannot_make_a_launcher_names_the_plugin(run, tmp_path):
    assert run(*CREATE).code == 0
    (tmp_path / "f.py").write_text("from poolform import flow\n\n@flow\ndef f(): pass\n")
    assert run("deploy", "f.py:f", "-n", "x", "-p", "p").code == 0
    assert run("deployment", "run", "f/x").code == 0
    settings = Settings.from_environment()
    heard = []

    class Hearing(Listener):
        def trouble(self, pool, message):
            heard.append(message)

    sys.path.insert(0, os.environ["PYTHONPATH"])
    try:
        with open_store(settings) as store:
            worker = make_worker(store, load_plugins(settings), Blocks(store, settings, os.environ), Hearing())
            thread = threading.Thread(target=worker.run)
            thread.start()
            deadline = time.monotonic() + 20
            while not heard and time.monotonic() < deadline:
                time.sleep(0.02)
            worker.stop()
            thread.join()
    finally:
        sys.path.remove(os.environ["PYTHONPATH"])
    assert heard[0].startswith(f"plugin {LABEL}: launcher of the pool type rude failed: RuntimeError: no manners.")


@pytest.mark.parametrize(
    ("review", "said"),
    [
        ("late", "poolform_review_plan failed: RuntimeError: no manners."),
        ("word", "poolform_review_plan returned 't', which is not a Review."),
    ],
)
def test_a_review_that_goes_wrong_names_the_plugin(run, review, said):
    result = run(*CREATE, RUDE_REVIEW=review)
    assert (result.code, f"Error: plugin {LABEL}: {said}" in result.err) == (1, True), result.err


def test_one_review_is_as_good_as_a_list_of_one(run):
    result = run(*CREATE, RUDE_REVIEW="one")
    assert (result.code, f"  never ({LABEL})\n" in result.err) == (1, True), result.err


@pytest.mark.slow
def test_no_plugins_loads_the_built_in_ones_alone(run):
    listed = run("--no-plugins", "plugin", "ls", "-o", "json").json["plugins"]
    assert {plugin["package"] for plugin in listed} == {"poolform"}
    assert "rude" in {plugin["name"] for plugin in run("plugin", "ls", "-o", "json").json["plugins"]}
    assert "rude" not in {
        plugin["name"] for plugin in run("plugin", "ls", "-o", "json", POOLFORM_PLUGINS="").json["plugins"]
    }
    refused = run("--no-plugins", *CREATE)
    assert (refused.code, "There is no pool type 'rude'" in refused.err) == (2, True)
