"""Every step can die and be run again; running again ends where an undisturbed run ends."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest
from matrix import Matrix

sys.path.insert(0, str(Path(__file__).parent))
from mortal import STEPS_DOWN, STEPS_UP

SIGNALS = ("SIGKILL", "SIGINT")
UP, DOWN = Matrix(STEPS_UP, SIGNALS), Matrix(STEPS_DOWN, SIGNALS)
CREATE = ("work-pool", "create", "p", "--type", "mortal", "--provision-infra", "--yes")
BEFORE_PROMOTION = ("identity", "preflight", "review")


def again(run, *args, seconds=15, **env):
    """Run until nobody else is at it: a killed Poolform's Terraform goes on to its end."""
    deadline = time.monotonic() + seconds
    while True:
        result = run(*args, **env)
        busy = "being changed just now" in result.err or "state is locked" in result.err
        if not busy or time.monotonic() > deadline:
            return result
        time.sleep(0.2)


def undisturbed(run, cloud, home):
    """Check that this is what one undisturbed run leaves: a ready pool, one key, no drift, nothing temporary."""
    (pool,) = run("work-pool", "ls", "-o", "json").json
    assert (pool["state"], pool["error"]) == ("ready", None)
    (key,) = (cloud / "keys").iterdir()
    (block,) = run("block", "ls", "-o", "json").json
    assert block["key_id"] == key.name
    shown = run("block", "inspect", f"mortal-key/{block['name']}", "--reveal", "-o", "json").json
    assert shown["data"]["secret"] == key.read_text()
    assert run("work-pool", "drift", "p").code == 0
    assert list((home / "pools").iterdir()) == [home / "pools" / pool["id"]]
    return pool


@pytest.mark.parametrize(("at", "of"), UP.cells())
def test_dying_on_the_way_up(run, cloud, home, leftovers, at, of):
    died = run(*CREATE, MORTAL_AT=at, MORTAL_OF=of)
    assert died.code == (-signal.SIGKILL if of == "SIGKILL" else 130), died.err
    if at in BEFORE_PROMOTION:
        assert run("work-pool", "ls", "-o", "json").json == []
        if of == "SIGINT":
            assert "nothing was changed" in died.err
            assert leftovers() == []
        assert again(run, *CREATE).code == 0
    else:
        if of == "SIGINT":
            done = "after the work was done: the pool p is ready."
            assert (
                done if at == "told" else "Nothing is lost. Go on: poolform work-pool provision-infra p"
            ) in died.err
            assert leftovers() == []
        # The same command goes on, as the README says; only once the pool is ready is its name taken. With other
        # variables it is another wish, and refused as ever.
        assert again(run, *CREATE, "--set", "size=3").code == 2
        resumed = again(run, *CREATE)
        if at == "told":
            assert resumed.code == 2
        else:
            assert resumed.code == 0, resumed.err
            assert "going on with it" in resumed.err
        assert again(run, "work-pool", "provision-infra", "p", "--yes").code == 0
    undisturbed(run, cloud, home)
    assert leftovers() == []


@pytest.mark.parametrize(("at", "of"), DOWN.cells())
def test_dying_on_the_way_down(run, cloud, home, leftovers, at, of):
    assert run(*CREATE).code == 0
    (cloud / "jobs").mkdir()
    (cloud / "jobs" / "definition").touch()
    died = run("work-pool", "deprovision", "p", "--yes", MORTAL_AT=at, MORTAL_OF=of)
    assert died.code == (-signal.SIGKILL if of == "SIGKILL" else 130), died.err
    assert again(run, "work-pool", "deprovision", "p", "--yes").code == 0
    (pool,) = run("work-pool", "ls", "-o", "json").json
    assert (pool["state"], pool["error"]) == ("not-provisioned", None)
    assert list((cloud / "keys").iterdir()) == []
    assert list((cloud / "jobs").iterdir()) == []
    assert run("block", "ls", "-o", "json").json == []
    assert list((home / "pools").iterdir()) == []
    assert leftovers() == []
    assert run("work-pool", "delete", "p", "--yes").code == 0


@pytest.mark.slow
def test_a_second_person_is_told_who_is_at_it(run, home):
    """The lock lives as long as the killed Poolform's Terraform works."""
    run(*CREATE, MORTAL_AT="apply", MORTAL_OF="SIGKILL", MORTAL_LASTS="6")
    second = run("work-pool", "provision-infra", "p", "--yes")
    assert second.code == 1
    assert "The pool p is being changed just now: provision-infra by " in second.err
    (begun,) = run("work-pool", "history", "p", "-o", "json").json
    assert (begun["outcome"], begun["summary"]["plan"], begun["error"]) == ("begun", "3 to create", None)
    assert again(run, "work-pool", "provision-infra", "p", "--yes").code == 0
    done, killed = run("work-pool", "history", "p", "-o", "json").json
    assert (done["outcome"], killed["outcome"]) == ("done", "failed")
    assert {**killed, "outcome": "begun", "error": None} == begun
    assert killed["error"] == "provision-infra was killed before it ended."


@pytest.mark.slow
def test_keys_that_no_block_holds_are_revoked(run, cloud, home):
    assert run(*CREATE).code == 0
    (key,) = (cloud / "keys").iterdir()
    (cloud / "keys" / f"{key.name}-stray").write_text("left by a crash")
    assert run("work-pool", "provision-infra", "p", "--set", "size=2", "--yes").code == 0
    undisturbed(run, cloud, home)


@pytest.mark.slow
def test_what_an_interrupted_apply_left_is_adopted(run, cloud, home):
    """Made in the cloud, absent from the state: it enters the next plan as an import, and only then."""
    assert run(*CREATE, MORTAL_AT="apply", MORTAL_OF="SIGINT").code == 130
    orphans = "terraform_data.last[0]=left-behind"
    planned = again(run, "work-pool", "plan", "p", MORTAL_ORPHANS=orphans)
    assert planned.code == 4
    assert "< Adopt a thing at" in planned.err
    assert ", left by an interrupted run" in planned.err
    resumed = run("work-pool", "provision-infra", "p", "--yes", MORTAL_ORPHANS=orphans)
    assert resumed.code == 0, resumed.err
    (state,) = home.glob("pools/*/terraform.tfstate")
    assert "left-behind" in state.read_text()
    assert not list(home.glob("pools/*/imports.tf"))
    undisturbed(run, cloud, home)
    ready = run("work-pool", "plan", "p", MORTAL_ORPHANS="terraform_data.last[0]=another")
    assert ready.code == 0
