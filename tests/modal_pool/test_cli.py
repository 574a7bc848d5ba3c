"""A Modal pool from the first command to the last: Modal's SDK, a stand-in of its service."""

from __future__ import annotations

import os

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
    me.deploy("greet", "fails", "sleeps", options=("--source", "inline"))
    assert me.watch("greet", "--param", "name=modal")["logs"].count("hello modal") == 1
    assert me.watch("fails", expect=5)["state"] == "failed"
    asleep = lambda: any("asleep" in line[2] for box in modal_service.boxes.values() for line in box.lines)
    assert me.cancel(asleep)["state"] == "cancelled"
    me.environment |= own  # who plans, compares or destroys needs a token of the same workspace
    clean = me("work-pool", "drift", "p")
    assert "No drift" in clean.stdout + clean.stderr
    me("work-pool", "deprovision", "p", "--yes")
    assert all(box.result is not None for box in modal_service.boxes.values())
    assert me.json("block", "ls") == []
    assert all(TOKEN[1] not in said for said in me.said)
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert TOKEN[1].encode() not in path.read_bytes(), path
