"""`poolform plugin check`: a stranger's package held to the contracts, and what falls short said in a sentence each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from poolform.testing.scaffold import Names, write

THIRD_PARTY = Path(__file__).parents[1] / "third_party" / "poolform_lab"


@pytest.fixture
def fog(tmp_path):
    """A new package, with a way to change it."""
    folder = tmp_path / "poolform-fog"
    write(Names.of("fog"), folder)

    def change(file, old, new):
        path = folder / "poolform_fog" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    change.folder = folder
    return change


@pytest.mark.slow
def test_the_third_party_package_keeps_every_rule(poolform):
    result = poolform("plugin", "check", "poolform_lab.plugin", PYTHONPATH=THIRD_PARTY)
    assert result.code == 0, result.out
    assert "falls short" not in result.out
    assert "not tried    bare-lab: " in result.out
    assert ": pools of this type have no resources\n" in result.out
    assert result.err.endswith("rules and falls short of none.\n")


@pytest.mark.slow
def test_every_rule_that_a_package_breaks_is_named(poolform, fog):
    fog("plugin.py", '"a folder for jobs at {input}"', '"a folder for jobs at {inptu}"')
    fog("plugin.py", '{"folder": outputs.folder}', '{"folder": "/tmp/fog"}')
    fog("launcher.py", "shutil.rmtree(self.folder / handle, ignore_errors=True)", "pass")
    fog("templates/main.tf.j2", "-${var.pool_id}", "")
    temporary = fog.folder.parent / "tmp"
    temporary.mkdir()
    said = ("plugin", "check", "poolform_fog.plugin", "-o", "json")
    result = poolform(*said, PYTHONPATH=fog.folder, TMPDIR=temporary)
    assert result.code == 1, result.err
    assert list(temporary.iterdir()) == []
    report = result.json
    assert (report["plugin"], report["conforms"]) == ("poolform_fog.plugin", False)
    assert report["kept"] > 30
    found = {(item["subject"], item["rule"]) for item in report["shortfalls"]}
    assert {
        ("fog", "a plan can be said in words"),
        ("fog", "every output is used"),
        ("fog", "everything bears the pool's id"),
        ("TestFogLauncher", "remove leaves nothing behind"),
        ("TestFogLauncher", "poll leaves out what is gone"),
    } <= found


@pytest.mark.slow
def test_one_fault_is_said_once_with_all_that_it_breaks(poolform, fog):
    fog("launcher.py", "folder = self.folder / job.key\n        try", "folder = self.folder / job.kee\n        try")
    result = poolform("plugin", "check", "poolform_fog.plugin", PYTHONPATH=fog.folder)
    assert result.code == 1, result.err
    (said,) = (line for line in result.out.splitlines() if "no attribute 'kee'" in line)
    assert re.fullmatch(r"falls short  TestFogLauncher: \d\d rules: AttributeError: 'Job' object has .* 'kee'", said)
    assert "; poll leaves out what is gone; " in " ".join(result.out.split())


def test_a_pool_type_whose_slug_is_taken_would_not_be_there(poolform, fog):
    fog("plugin.py", 'slug = "fog"', 'slug = "process"')
    result = poolform("plugin", "check", "poolform_fog.plugin", PYTHONPATH=fog.folder)
    assert result.code == 1
    taken = "the plugin loads: the pool type process is already brought by process (poolform "
    assert f"falls short  poolform_fog.plugin: {taken}" in result.out


def test_a_plugin_without_pool_types_has_only_to_load(poolform):
    examples = Path(__file__).parents[2] / "examples" / "plugins"
    result = poolform("plugin", "check", "allowed_regions", PYTHONPATH=examples)
    assert result.code == 0, result.err
    assert result.err == "allowed_regions keeps 1 rule and falls short of none.\n"


def test_an_entry_point_may_name_an_object(poolform, fog, tmp_path):
    fog(
        "plugin.py",
        "@hookimpl\ndef poolform_pool_types():",
        "class Plugin:\n    @hookimpl\n    def poolform_pool_types(self):",
    )
    fog(
        "plugin.py",
        '    """Bring the pool type."""\n    return [FogPoolType]',
        "        return [FogPoolType]\n\n\nplugin = Plugin()",
    )
    fog("plugin.py", 'slug = "fog"', 'slug = "fog"\n    contract = 2')
    about = tmp_path / "poolform-fog" / "poolform_fog-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: poolform-fog\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[poolform]\nfog = poolform_fog.plugin:plugin\n")
    result = poolform("plugin", "check", "poolform-fog", PYTHONPATH=fog.folder)
    assert result.code == 1
    assert "it is written for contract 2" in result.out


def test_a_package_that_does_not_load_says_why(poolform, fog):
    fog("plugin.py", 'slug = "fog"', 'slug = "fog"\n    contract = 2')
    result = poolform("plugin", "check", "poolform_fog.plugin", PYTHONPATH=fog.folder)
    assert result.code == 1
    assert "falls short  poolform_fog.plugin: the plugin loads: " in result.out
    assert "it is written for contract 2, and this Poolform has contract 1" in result.out
    assert result.err == "poolform_fog.plugin keeps 0 rules and falls short of 1.\n"


def test_a_package_that_is_not_there_is_a_usage_error(poolform):
    result = poolform("plugin", "check", "poolform-nowhere")
    assert result.code == 2
    assert "There is no plugin 'poolform-nowhere': no such distribution, entry point or module." in result.err
