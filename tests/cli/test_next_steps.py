"""What a person is told before it hurts: what a pool lacks, what destroying it stops, what cannot be written to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")

DEPLOY = ("deploy", "flows.py:etl", "--name", "x", "--pool", "here")
CREATE = ("work-pool", "create", "here", "--type", "process")


@pytest.fixture(autouse=True)
def flows(tmp_path):
    (tmp_path / "flows.py").write_text("def etl(day: int = 1): print('day', day)\n")


def test_deploying_says_what_the_pool_lacks_and_destroying_whom_it_stops(poolform, tmp_path):
    assert poolform(*CREATE).code == 0
    done = poolform(*DEPLOY)
    assert (done.code, "poolform work-pool provision-infra here\nThen run it: " in done.err) == (0, True), done.err
    assert poolform("work-pool", "provision-infra", "here", "--yes").code == 0
    assert "\nRun it: " in poolform(*DEPLOY).err
    scheduled = poolform(*DEPLOY, "--cron", "0 1 * * *").err
    nobody = "No worker is there to run it on schedule: poolform worker start --pool here\nRun it: "
    assert nobody in scheduled, scheduled
    (tmp_path / "prefect.yaml").write_text("name: x\ndeployments:\n- name: null\n  entrypoint: null\n")
    nothing = poolform("deploy", "--all")
    assert (nothing.code, "prefect.yaml has no deployments." in nothing.err) == (2, True), nothing.err
    assert poolform("deployment", "run", "etl/x").code == 0
    asked = poolform("work-pool", "deprovision", "here")
    assert (asked.code, "- Cancel 1 run that waits\n" in asked.err) == (3, True), asked.err
    assert "~ Leave 1 deployment that uses the pool without a place to run: etl/x\n" in asked.err
    assert poolform("work-pool", "pause", "here").code == 0
    assert "poolform work-pool resume here\nThen run it: " in poolform(*DEPLOY).err


def test_a_run_may_be_due_later_and_a_watch_says_what_it_waits_for(poolform):
    assert poolform(*CREATE, "--provision-infra", "--yes").code == 0
    assert poolform(*DEPLOY).code == 0
    run = ("deployment", "run", "etl/x")
    for wrong in (("--start-at", "tomorrow"), ("--start-in", "soon"), ("--start-in", "1h", "--start-at", "2040-01-01")):
        assert poolform(*run, *wrong).code == 2
    later = poolform(*run, "--start-at", "2040-01-02T03:04+00:00", "-o", "json", TZ="UTC").json
    assert later["scheduled_at"] == "2040-01-02T03:04:00+00:00"
    ran = poolform(*run, "--start-in", "2s", "--watch", "-o", "json").json
    assert ran["state"] == "completed"
    waited = [datetime.fromisoformat(ran[at]) for at in ("created_at", "scheduled_at", "started_at")]
    assert (waited[1] - waited[0]).total_seconds() == pytest.approx(2, abs=0.1)
    assert waited[2] >= waited[1]
    waiting = poolform(*run).out.strip()
    watch = subprocess.Popen(
        [Path(sys.executable).with_name("poolform"), "flow-run", "watch", waiting], stderr=subprocess.PIPE, text=True
    )
    try:
        assert "waits: no worker is there for the work pool here: poolform worker start" in watch.stderr.readline()
    finally:
        watch.terminate()
        watch.communicate()


def test_a_reader_that_has_enough_ends_us_as_a_shell_expects(poolform):
    ours, theirs = os.pipe()
    os.close(ours)
    command = [Path(sys.executable).with_name("poolform"), "work-pool", "types", "-o", "json"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("noun", [[], ["work-pool"], ["flow-run"], ["block"]])
def test_help_ends_no_sentence_before_its_end_and_speaks_no_python(poolform, noun):
    shown = poolform(*noun, "--help", COLUMNS="80").out
    assert "..." not in shown.partition("Commands:")[2]
    assert max(map(len, shown.splitlines())) <= 80
    for verb in (["create"], ["set-concurrency-limit"]) if noun == ["work-pool"] else ():
        shown = poolform(*noun, *verb, "--help", COLUMNS="80").out
        assert not re.search(r"<(str|int|float|path)|\{NAME|\blimit  ", shown), shown
        assert "[OPTIONS] NAME" in shown.splitlines()[0]


def test_help_says_every_name_in_full_on_a_narrow_terminal(poolform):
    shown = poolform("deploy", "--help", COLUMNS="80").out
    assert all(name in shown for name in ("--prefect-file", "--work-queue", "--collision-strategy"))
    assert "Did you mean work-pool?" in poolform("wrok-pool").err
    assert poolform("--version").out.startswith("poolform ")


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


def test_tab_offers_pools_deployments_and_types_and_never_fails(poolform, home):
    def offered(*words, **env):
        asked = {"_POOLFORM_COMPLETE": "complete_bash", "COMP_CWORD": len(words) - 1}
        done = poolform(**asked, COMP_WORDS=" ".join(words), **env)
        assert (done.code, done.err) == (0, "")
        return done.out.split()

    assert offered("poolform", "work-pool", "inspect", "") == []
    assert not (home / "poolform.db").exists(), "to press Tab makes no database"
    assert poolform(*CREATE).code == 0
    assert poolform(*DEPLOY).code == 0
    assert offered("poolform", "work-pool", "inspect", "h") == ["here"]
    assert offered("poolform", "deployment", "run", "et") == ["etl/x"]
    assert offered("poolform", "work-pool", "create", "p", "--type", "proc") == ["process"]
    assert offered("poolform", "work-pool", "inspect", "", POOLFORM_DATABASE_URL="sqlite:////proc/no.db") == []


def test_a_backend_that_cannot_be_reached_is_named_with_what_leads_there(poolform):
    """Of PostgreSQL, Terraform says but an address, which nobody gave where PG_CONN_STR is not set."""
    create = ("work-pool", "create", "p", "--type", "process", "--provision-infra", "--yes", "--backend", "pg")
    said = poolform(*create, "--backend-config", "schema_name=p", PG_CONN_STR="postgres://127.0.0.1:1/state")
    assert said.code == 1
    assert "127.0.0.1:1: connect: connection refused" in said.err
    assert "State is in the backend pg: is it there, and does the environment have PG_CONN_STR?" in said.err
