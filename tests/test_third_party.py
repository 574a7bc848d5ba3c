"""A stranger's package: built, installed beside Poolform's wheel in an environment of its own, used, and gone again.

Nothing of the checkout is importable there. This is what plugin authors get, so it is tried as they would get it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = [pytest.mark.package_index, pytest.mark.slow]

ROOT = Path(__file__).parents[1]
LAB = Path(__file__).parent / "third_party" / "poolform_lab"
NOT_SOURCE = shutil.ignore_patterns(
    *("tests", "benchmarks", "docs", "examples", "build", "dist", "*.egg-info", "__pycache__", ".?*")
)
FLOW = '''
from poolform import flow

@flow
def count(up_to: int = 3):
    """Count."""
    for number in range(1, up_to + 1):
        print(number)
'''


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """The folder of an environment with Poolform's wheel and the package; one for all of pytest-xdist's processes."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "third-party"
    with (shared / "third-party.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            made = make_environment(folder)
            (folder / "made").write_text(made)
    if said := (folder / "made").read_text():
        pytest.skip(said)
    return folder / "environment"


def make_environment(folder):
    """Build the wheel and install it with the package. Return why not, where no package index can be reached."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT, folder / "poolform", ignore=NOT_SOURCE)  # building leaves things behind
    shutil.copytree(LAB, folder / "lab", ignore=NOT_SOURCE)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
    reached = subprocess.run(
        (*pip, "download", "--no-deps", "--dest", folder / "probe", "setuptools>=77"),
        capture_output=True,
        text=True,
        check=False,
    )
    if reached.returncode != 0:
        return f"no package index can be reached: {reached.stderr.strip().splitlines()[-1]}"
    build = (sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", folder / "poolform")
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", folder / "environment"), check=True)
    (wheel,) = (folder / "dist").iterdir()
    extra = "" if shutil.which("terraform") or shutil.which("tofu") else "[embedded]"
    python = folder / "environment" / "bin" / "python"
    subprocess.run((*pip, "--python", python, "install", f"{wheel}{extra}", folder / "lab"), check=True)
    return ""


def command_line(environment, folder):
    """Return a function that runs `poolform …` of an environment, in a folder."""

    program = (environment / "bin" / "python", "-m", "poolform.cli.app")

    def run(*args, stdin=None):
        done = subprocess.run(
            [*program, *map(str, args)],
            input=stdin or "",
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=120,
            check=False,
        )
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    run.start = lambda *args: subprocess.Popen([*program, *args], stderr=subprocess.PIPE, text=True, cwd=folder)
    return run


@pytest.fixture
def run(environment, tmp_path, monkeypatch):
    """The command line of the environment, in a folder with a flow."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "flows.py").write_text(FLOW)
    return command_line(environment, tmp_path)


def test_what_it_brings_is_found(run, environment):
    assert (environment / "bin" / "poolform").exists()
    listed = run("plugin", "ls")
    assert listed.code == 0, listed.err
    assert ["lab", "poolform-lab", "0.3.0", "lab,", "bare-lab"] in [line.split() for line in listed.out.splitlines()]
    assert "lab (poolform-lab 0.3.0)" in run("work-pool", "types").out
    described = run("work-pool", "types", "lab").out
    assert "Folder that stands for the laboratory." in described
    assert "The laboratory." in run("--help").out
    assert run("lab", "greet", "Ada").out == "The laboratory greets Ada.\n"
    assert "lab-badge" in run("block", "types").out
    for option in ("--help", "-h"):
        assert "greet" in run("lab", option).out


def test_a_pool_of_its_type_goes_the_whole_way(run, tmp_path):
    lab = ("--set", f"folder={tmp_path / 'lab'}")
    made = run("work-pool", "create", "p", "--type", "lab", *lab, "--provision-infra", "--yes")
    assert made.code == 0, made.err
    assert f"+ Create a bench at {tmp_path / 'lab'}/" in made.err
    assert "Not checked: lab.light (nobody can tell)" in made.err
    assert run("deploy", "flows.py:count", "--name", "here", "--pool", "p").code == 0
    watched = run("deployment", "run", "count/here", "-p", "up_to=4", "--watch")
    assert (watched.code, watched.out) == (0, "1\n2\n3\n4\n"), watched.err
    assert watched.err.splitlines()[-1].endswith(" is completed")
    refused = run("deployment", "run", "count/here", "-jv", "bench=first")
    assert (refused.code, "bench: " in refused.err) == (2, True)
    assert run("work-pool", "drift", "p").code == 0
    vetoed = run("work-pool", "provision-infra", "p", "--set", "benches=9", "--yes")
    assert vetoed.code == 1
    assert "terraform_data.bench[1]: more than five changes at once (lab (poolform-lab 0.3.0))" in vetoed.err
    warned = run("work-pool", "provision-infra", "p", "--set", "colour=red", "--set", "lamp=true", "--yes")
    assert (warned.code, "Warning: red light is for photographs" in warned.err) == (0, True)
    assert run("work-pool", "deprovision", "p", "--yes").code == 0
    assert run("work-pool", "delete", "p", "--yes", "--with-deployments").code == 0


def test_its_preflight_stops_what_is_not_allowed(run):
    create = ("work-pool", "create", "p", "--type", "lab", "--set", "folder=/forbidden/lab")
    refused = run(*create, "--provision-infra", "--yes")
    assert refused.code == 1
    assert "lab.enter: the door is locked\nAsk the caretaker for lab.enter." in refused.err
    assert run("work-pool", "ls").out == ""


def test_a_pool_without_resources_is_ready_when_created(run, tmp_path):
    made = run("work-pool", "create", "p", "--type", "bare-lab", "--set", f"folder={tmp_path}")
    assert made.code == 0, made.err
    assert "The work pool p has no infrastructure of its own." in made.err
    assert made.err.endswith("The work pool p is ready.\n")
    assert run("deploy", "flows.py:count", "--name", "here", "--pool", "p").code == 0
    assert run("deployment", "run", "count/here", "--watch").out == "1\n2\n3\n"
    gone = run("work-pool", "deprovision", "p", "--yes")
    assert (gone.code, "The work pool p is disconnected." in gone.err) == (0, True)


def test_its_blocks_are_checked_and_hidden(run):
    wrong = run("block", "create", "lab-badge/ada", "--file", "-", stdin='{"holder": "Ada"}')
    assert (wrong.code, "number" in wrong.err) == (2, True)
    made = run("block", "create", "lab-badge/ada", "--file", "-", stdin='{"holder": "Ada", "number": "4711"}')
    assert made.code == 0, made.err
    assert "4711" not in run("block", "inspect", "lab-badge/ada").out
    assert "4711" in run("block", "inspect", "lab-badge/ada", "--reveal").out


def test_its_pools_can_be_destroyed_when_it_is_gone(run, environment, tmp_path):
    lab = ("--set", f"folder={tmp_path / 'lab'}")
    assert run("work-pool", "create", "p", "--type", "lab", *lab, "--provision-infra", "--yes").code == 0
    assert run("deploy", "flows.py:count", "--name", "here", "--pool", "p").code == 0
    without = tmp_path / "environment"
    shutil.copytree(environment, without, symlinks=True, copy_function=os.link)
    uninstall = ("--python", without / "bin" / "python", "uninstall", "--yes", "poolform-lab")
    subprocess.run((sys.executable, "-m", "pip", "--quiet", *uninstall), check=True)
    run = command_line(without, tmp_path)
    assert "lab" not in run("plugin", "ls").out
    assert run("work-pool", "drift", "p").code == 0
    for verb in ("provision-infra", "plan", "render", "graph"):
        refused = run("work-pool", verb, "p")
        assert refused.code == 2, refused.err
        assert "The pool type lab of the work pool p is not here: the plugin lab 0.3.0 brought it." in refused.err
    worker = run.start("worker", "start")
    try:
        run("deployment", "run", "count/here")
        said = "p: The pool type lab of the work pool p is not here: the plugin lab 0.3.0 brought it. Trying again in "
        assert any(said in line for line in worker.stderr)
    finally:
        worker.terminate()
        worker.communicate(timeout=30)
    gone = run("work-pool", "deprovision", "p", "--yes")
    assert gone.code == 0, gone.err
    assert "Warning: the plugin lab 0.3.0 is not installed, so jobs that still run" in gone.err
    assert run("work-pool", "delete", "p", "--yes", "--with-deployments").code == 0
