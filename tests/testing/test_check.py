"""Checking a stranger's plugin: what is found, in whose words, and what can't be."""

from __future__ import annotations

import sys

import pytest

from poolform.core.errors import NotFound, PluginError
from poolform.testing import check

PLUGIN = """
from importlib.resources import files
from pathlib import Path
from pydantic import Field
from poolform import Connection, JobVariables, Outputs, PoolType, Variables, hookimpl
from poolform.core.pools.contract import Provider
from poolform.provisioners.process.launcher import ProcessLauncher

class BenchVariables(Variables):
    folder: str = Field(description="Where benches are.")

class BenchOutputs(Outputs):
    bench: str
    colour: str

class Bench(PoolType):
    slug = "bench"
    title = "Bench"
    variables, outputs = BenchVariables, BenchOutputs
    providers = {"lab": Provider("acme/lab", "~> 1.0")}
    templates = files("poolform_bench") / "templates"
    nouns = {"lab_bench": "a bench {name}"}

    def connect(self, variables, outputs):
        return Connection(settings={"folder": variables.folder, "bench": outputs.bench, "colour": outputs.colour})

    def launcher(self, connection, credential):
        return ProcessLauncher(Path(connection.settings["folder"]))

@hookimpl
def poolform_pool_types():
    return [Bench]
"""
MAIN = """\
resource "lab_bench" "this" {
  name = "bench-${var.pool_id}"
}
"""
OUTPUTS = """\
output "bench" {
  value = lab_bench.this.id
}

output "colour" {
  value = lab_bench.this.colour
}
"""
CONFORMANCE = """
import pytest
from poolform.testing import LauncherContract, PoolTypeContract
from poolform.testing.standin import Computed, Required, Resource, schema
from poolform.provisioners.process.launcher import ProcessLauncher
from poolform_bench.plugin import Bench

LAB = schema("acme/lab", resources={
    "lab_bench": {"id": Computed("string"), "name": Required("string"), "colour": Computed("string")}
})

class TestBench(PoolTypeContract):
    pool_type = Bench
    examples = ({"folder": "/benches"},)
    schemas = (LAB,)
    behaviour = {"lab_bench": Resource(computed={"id": "benches/{name}", "colour": "white"}, unique=("name",))}

@pytest.fixture
def benches(tmp_path):
    folder = tmp_path / "benches"
    folder.mkdir()
    return folder

class TestBenchLauncher(LauncherContract):
    @pytest.fixture
    def connect(self, benches):
        return lambda: ProcessLauncher(benches, grace=1.0)

    @pytest.fixture
    def leftovers(self, benches):
        return lambda: [path.name for path in benches.iterdir()]
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write the plugin poolform_bench, changed as asked, where it can be imported."""

    def write(plugin=PLUGIN, conformance=CONFORMANCE, main=MAIN):
        folder = tmp_path / "strange" / "poolform_bench"
        (folder / "templates").mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "plugin.py").write_text(plugin)
        (folder / "templates" / "main.tf.j2").write_text(main)
        (folder / "templates" / "outputs.tf.j2").write_text(OUTPUTS)
        if conformance:
            (folder / "conformance.py").write_text(conformance)
        monkeypatch.syspath_prepend(folder.parent)
        return "poolform_bench.plugin"

    yield write
    for name in [name for name in sys.modules if name.startswith("poolform_bench")]:
        del sys.modules[name]


@pytest.mark.slow
def test_what_falls_short_is_said_by_rule(package):
    plugin = PLUGIN.replace(', "colour": outputs.colour', "").replace('"a bench {name}"', '"a bench {nmae}"')
    only_the_pool_type = CONFORMANCE.partition("@pytest.fixture")[0]
    report = check.run(package(plugin, only_the_pool_type, main=MAIN.replace("bench-${var.pool_id}", "bench")))
    assert not report.conforms
    found = {item.rule: item for item in report.shortfalls if item.subject == "bench"}
    assert "every output is used" in found
    assert "a plan can be said in words" in found
    side_by_side = found["two pools live side by side"]
    assert side_by_side.message.startswith("a second pool with the same variables collides with the first")
    assert "everything bears the pool's id" in found
    assert side_by_side.sentence().startswith("bench: two pools live side by side: a second pool")
    assert report.kept > 10


@pytest.mark.slow
def test_a_launcher_is_held_to_its_contract(package):
    """The process launcher is; so whatever is said of it here is said in tests/provisioners too."""
    report = check.run(package())
    assert [item for item in report.shortfalls if item.subject == "bench"] == []
    tried = {item.subject for item in (*report.shortfalls, *report.untried)}
    assert "TestBenchLauncher" in tried, "at least what only notifying launchers can be tried with was not tried"


@pytest.mark.slow
def test_a_plugin_without_conformance_is_tried_as_far_as_it_goes(package):
    report = check.run(package(conformance=None))
    assert any("there is no schema of acme/lab" in item.message for item in report.untried)
    rules = {item.rule: item.message for item in report.shortfalls}
    assert "the examples are valid" in rules
    assert rules["its launchers are tested"].endswith("LauncherContract in poolform_bench.conformance")


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "AssertionError: no noun: a.b\nassert ['a.b'] == []\n  Left",
            "no noun: a.b",
        ),
        ("KeyError: 'memory_mb'", "KeyError: 'memory_mb'"),
        ("Failed: a second pool\ncollides:\n  name taken", "a second pool collides: name taken"),
        ("poolform.core.errors.PluginError: plugin bench:push: template main.tf.j2: no", "template main.tf.j2: no"),
        ("AssertionError: main.tf holds a value\nFalsifying example: f(\n)", "main.tf holds a value"),
    ],
)
def test_what_a_failure_says_fits_a_line_without_the_names_of_ours(message, said):
    assert check.said_in(message) == said


def test_a_plugin_that_exits_when_it_is_imported_says_so(package):
    report = check.run(package("raise SystemExit(3)\n"))
    assert [item.message for item in report.shortfalls] == ["it cannot be imported: SystemExit: 3."]


def test_a_plugin_that_does_not_load_says_why(package):
    report = check.run(package(PLUGIN.replace('slug = "bench"', 'slug = "No Slug"')))
    assert [item.rule for item in report.shortfalls] == ["the plugin loads"]
    assert "its slug is 'No Slug'" in report.shortfalls[0].message
    assert report.kept == 0


def test_a_conformance_that_cannot_be_imported_says_why(package):
    with pytest.raises(PluginError, match="its conformance cannot be imported: ModuleNotFoundError"):
        check.run(package(conformance="import no_such_module"))


def test_a_package_that_is_not_there():
    with pytest.raises(NotFound, match="no such distribution, entry point or module"):
        check.run("poolform-nowhere")
