"""A managed pool from the first command to the last, as processes and as containers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from people import Person

pytestmark = [pytest.mark.slow]
FLOWS = Path(__file__).parent / "flows"


@pytest.fixture(params=["process", pytest.param("container", marks=pytest.mark.docker)])
def me(request, tmp_path, folder, index):
    if request.param == "container":
        base_image = request.getfixturevalue("base_image")
    (tmp_path / "terraform.rc").write_text("")
    me = Person.at(tmp_path, FLOWS, TF_CLI_CONFIG_FILE=str(tmp_path / "terraform.rc"))
    me("work-pool", "create", "p", "--type", "managed", "--set", f"folder={folder}", "--set",
       f"isolation={request.param}", "--provision-infra", "--yes")  # fmt: skip
    image = ("--job-variable", f"image={base_image}") if request.param == "container" else ()
    for name in ("greet", "fails", "sleeps"):
        packages = ("--job-variable", 'pip_packages=["acorn==1.0"]')
        me("deploy", f"flows.py:{name}", "--name", "n", "--pool", "p", "--source", "inline", *packages, *image)
    return me


def test_from_provisioning_to_nothing(me, folder):
    me("deployment", "run", "greet/n", "--watch", "--param", "name=you")
    logs = me("flow-run", "logs", me.last_run()["id"]).stdout
    assert logs.count("hello you, with acorn 1.0") == 1
    said = me("deployment", "run", "fails/n", "--watch", expect=5)
    assert me.last_run()["state"] == "failed"
    assert "the data is not there" in said.stdout + said.stderr
    watching = me.start("deployment", "run", "sleeps/n", "--watch")
    deadline = time.monotonic() + 60
    while "asleep" not in me("flow-run", "logs", me.last_run()["id"]).stdout:
        assert time.monotonic() < deadline, "it never ran"
        time.sleep(0.2)
    me("flow-run", "cancel", me.last_run()["id"])
    watching.communicate(timeout=90)
    assert me.last_run()["state"] == "cancelled"
    clean = me("work-pool", "drift", "p")
    assert "No drift" in clean.stdout + clean.stderr
    me("work-pool", "deprovision", "p", "--yes")
    assert list(folder.glob("*")) == []
    assert me.json("work-pool", "inspect", "p")["state"] != "ready"
