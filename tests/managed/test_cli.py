"""A managed pool from the first command to the last, as processes and as containers."""

from __future__ import annotations

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
    packages = ("--job-variable", 'pip_packages=["acorn==1.0"]')
    me.deploy("greet", "fails", "sleeps", options=("--source", "inline", *packages, *image))
    return me


def test_from_provisioning_to_nothing(me, folder):
    assert me.watch("greet", "--param", "name=you")["logs"].count("hello you, with acorn 1.0") == 1
    failed = me.watch("fails", expect=5)
    assert failed["state"] == "failed"
    assert "the data is not there" in failed["said"]
    asleep = lambda: "asleep" in me("flow-run", "logs", me.last_run()["id"]).stdout
    assert me.cancel(asleep)["state"] == "cancelled"
    clean = me("work-pool", "drift", "p")
    assert "No drift" in clean.stdout + clean.stderr
    me("work-pool", "deprovision", "p", "--yes")
    assert list(folder.glob("*")) == []
    assert me.json("work-pool", "inspect", "p")["state"] != "ready"
