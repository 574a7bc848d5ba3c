"""`poolform plugin new`: what it writes installs and passes its own tests; a bad name gets a sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fresh import Environment

import poolform as public
from poolform.core.errors import UsageError
from poolform.testing.scaffold import Names, package_files


@pytest.mark.slow
def test_a_new_package_installs_and_passes_its_tests(poolform, tmp_path):
    made = poolform("plugin", "new", "my-lab")
    assert made.code == 0, made.err
    assert "poolform-my-lab/poolform_my_lab/plugin.py" in made.out.splitlines()
    folder = tmp_path / "poolform-my-lab"
    fresh = Environment(tmp_path / "venv")
    installed = fresh.run("pip", "install", "-e", ".", cwd=folder)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    listed = fresh.run("poolform", "plugin", "ls", "-o", "json", cwd=tmp_path)
    expected = {"name": "my-lab", "package": "poolform-my-lab", "version": "0.1.0", "pool_types": ["my-lab"]}
    assert expected in json.loads(listed.stdout)["plugins"]
    tested = fresh.run("pytest", "-q", "-W", "error", cwd=folder)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert re.search(r"^\d+ passed, 3 skipped", tested.stdout, re.MULTILINE), tested.stdout


def test_what_is_written_is_free_of_the_template_and_of_faults(tmp_path, poolform):
    """Formatted and linted as we are, for a name of one word and for one of two: names change the length of lines."""
    for name in ("fog", "north-sea"):
        made = poolform("plugin", "new", name, "--folder", tmp_path / name)
        assert made.code == 0, made.err
        assert [path for path in map(Path, made.out.split()) if not path.is_file()] == []
        texts = package_files(Names.of(name))
        assert [path for path, text in texts.items() if "acorn" in f"{path} {text}".lower()] == []
        ruff = (Path(sys.executable).with_name("ruff"), "--isolated", "--config", "line-length=120")
        rules = ("check", "--no-cache", "--select=E,F,I,UP,B,N,SIM,PTH,C4")
        for command in ((*ruff, *rules, "."), (*ruff, "format", "--no-cache", "--check", ".")):
            done = subprocess.run(command, cwd=tmp_path / name, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr


def test_everything_that_is_written_is_in_the_wheel():
    files = package_files(Names.of("fog"))
    assert {".gitignore", ".github/workflows/test.yml", "README.md", "pyproject.toml"} <= files.keys()
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["entry-points"]["poolform"] == {"fog": "poolform_fog.plugin"}
    source = Path(public.__file__).parent / "testing" / "scaffold" / "package"
    assert len(files) == len([path for path in source.rglob("*") if path.is_file()])


@pytest.mark.parametrize(
    ("name", "package", "classes", "title"),
    [
        ("fog", "poolform_fog", "Fog", "Fog"),
        ("poolform-fog", "poolform_fog", "Fog", "Fog"),
        ("north-sea-2", "poolform_north_sea_2", "NorthSea2", "North Sea 2"),
        ("none", "poolform_none", "None", "None"),  # NonePoolType is no keyword
    ],
)
def test_names_follow_from_one(name, package, classes, title):
    names = Names.of(name)
    assert (names.package, names.classes, names.title) == (package, classes, title)
    compile(package_files(names)[f"{package}/plugin.py"], "plugin.py", "exec")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Fog", "'Fog' cannot be the name of a plugin.\nUse up to 40 lower-case letters and digits"),
        ("north_sea", "'north_sea' cannot be the name of a plugin."),
        ("../up", "'../up' cannot be the name of a plugin."),
        ("2nd", "'2nd' cannot be the name of a plugin."),
        ("nebel-", "'nebel-' cannot be the name of a plugin."),
        ("poolform-", "'poolform-' cannot be the name of a plugin."),
        ("", "'' cannot be the name of a plugin."),
        ("n" * 41, "cannot be the name of a plugin."),
        ("job", "'job' cannot be the name of a plugin: its JobVariables would be taken for Poolform's."),
        ("process", "There is a pool type process already, brought by process (poolform "),
    ],
)
def test_a_bad_name_gets_a_sentence_and_writes_nothing(poolform, tmp_path, name, said):
    before = sorted(tmp_path.iterdir())
    result = poolform("plugin", "new", name)
    assert (result.code, result.out) == (2, "")
    assert f"Error: {said}" in result.err or said in result.err
    assert "Traceback" not in result.err
    assert sorted(path for path in tmp_path.iterdir() if path.name != "home") == before


def test_what_is_there_is_never_overwritten(poolform, tmp_path):
    mine = tmp_path / "poolform-fog" / "README.md"
    mine.parent.mkdir()
    mine.write_text("mine")
    result = poolform("plugin", "new", "fog")
    assert result.code == 2
    assert "poolform-fog is there already, and not empty.\nTake another one: --folder DIR" in result.err
    assert [path.name for path in mine.parent.iterdir()] == ["README.md"]
    assert poolform("plugin", "new", "fog", "--folder", "poolform-fog/README.md").code == 2
    assert mine.read_text() == "mine"


def test_every_name_of_ours_that_a_class_could_take_is_refused():
    for name in public.__all__:
        for part in ("JobVariables", "Launcher", "Outputs", "PoolType", "Variables"):
            if name.endswith(part) and (rest := name.removesuffix(part)):
                with pytest.raises(UsageError):
                    Names.of(rest.lower())
