"""A Modal pool from the first command to the last: Modal's SDK, a stand-in of its service."""

from __future__ import annotations

import os
import time

import pytest
from clouds.modal import TOKEN
from people import Person

pytestmark = pytest.mark.slow
FLOWS = """
import time
from poolform import flow

@flow
def greet(name="world"):
    print(f"hello {name}")

@flow
def fails():
    raise ValueError("the data is not there")

@flow
def sleeps():
    print("asleep", flush=True)
    time.sleep(600)
"""


def test_from_provisioning_to_nothing(modal_service, tmp_path):
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "flows.py").write_text(FLOWS)
    (tmp_path / "terraform.rc").write_text("")
    own = {name: os.environ[name] for name in ("MODAL_SERVER_URL", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET")}
    me = Person.at(tmp_path, tmp_path / "flows", TF_CLI_CONFIG_FILE=str(tmp_path / "terraform.rc"), **own).on_record()
    created = me("work-pool", "create", "p", "--type", "modal:push", "--provision-infra", "--yes")
    assert f"as the token {TOKEN[0]} in account lab" in created.stderr
    for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"):
        del me.environment[name]  # from here on, the block has it
    for name in ("greet", "fails", "sleeps"):
        me("deploy", f"flows.py:{name}", "--name", "n", "--pool", "p", "--source", "inline")
    me("deployment", "run", "greet/n", "--watch", "--param", "name=modal")
    assert me("flow-run", "logs", me.last_run()["id"]).stdout.count("hello modal") == 1
    me("deployment", "run", "fails/n", "--watch", expect=5)
    assert me.last_run()["state"] == "failed"
    watching = me.start("deployment", "run", "sleeps/n", "--watch")
    deadline = time.monotonic() + 60
    while not any("asleep" in line[2] for box in modal_service.boxes.values() for line in box.lines):
        assert time.monotonic() < deadline, "it never ran"
        time.sleep(0.1)
    me("flow-run", "cancel", me.last_run()["id"])
    watching.communicate(timeout=90)
    assert me.last_run()["state"] == "cancelled"
    me.environment |= own  # who plans, compares or destroys needs a token of the same workspace
    clean = me("work-pool", "drift", "p")
    assert "No drift" in clean.stdout + clean.stderr
    me("work-pool", "deprovision", "p", "--yes")
    assert all(box.result is not None for box in modal_service.boxes.values())
    assert me.json("block", "ls") == []
    assert all(TOKEN[1] not in said for said in me.said)
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert TOKEN[1].encode() not in path.read_bytes(), path
