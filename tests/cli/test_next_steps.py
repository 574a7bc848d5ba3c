"""What a person is told before it hurts: what a pool lacks, what destroying it stops, what cannot be written to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")

DEPLOY = ("deploy", "flows.py:etl", "--name", "x", "--pool", "here")
CREATE = ("work-pool", "create", "here", "--type", "process")


@pytest.fixture(autouse=True)
def flows(tmp_path):
    (tmp_path / "flows.py").write_text("def etl(day: int = 1): print('day', day)\n")


def test_deploying_says_what_the_pool_lacks_and_destroying_whom_it_stops(poolform):
    assert poolform(*CREATE).code == 0
    done = poolform(*DEPLOY)
    assert (done.code, "poolform work-pool provision-infra here\nThen run it: " in done.err) == (0, True), done.err
    assert poolform("work-pool", "provision-infra", "here", "--yes").code == 0
    assert "\nRun it: " in poolform(*DEPLOY).err
    assert poolform("deployment", "run", "etl/x").code == 0
    asked = poolform("work-pool", "deprovision", "here")
    assert (asked.code, "- Cancel 1 run that waits\n" in asked.err) == (3, True), asked.err
    assert "~ Leave 1 deployment that uses the pool without a place to run: etl/x\n" in asked.err
    assert poolform("work-pool", "pause", "here").code == 0
    assert "poolform work-pool resume here\nThen run it: " in poolform(*DEPLOY).err


def test_a_folder_that_cannot_be_made_is_found_out_before_anything_is(poolform, tmp_path):
    (tmp_path / "file").touch()
    for folder in (Path("/proc/nope"), tmp_path / "file" / "below"):
        done = poolform(*CREATE, "--set", f"folder={folder}", "--provision-infra", "--yes")
        assert (done.code, "nothing was changed" in done.err, "--set folder=PATH.\n" in done.err) == (1, True, True)
        assert f"{folder} cannot be made in {folder.parent}" in done.err
    assert poolform("work-pool", "ls", "-o", "json").json == []


def test_a_project_file_takes_the_type_that_its_pool_has(poolform, tmp_path):
    assert poolform("work-pool", "create", "here", "--type", "managed").code == 0
    assert poolform("init", "--pool", "here").code == 0
    assert "- name: here\n    type: managed\n" in (tmp_path / "poolform.yaml").read_text()


def test_a_block_that_is_not_there_cannot_be_deleted_by_nobody(poolform):
    done = poolform("block", "delete", "secret/none")
    assert (done.code, "There is no block secret/none." in done.err) == (2, True), done.err
