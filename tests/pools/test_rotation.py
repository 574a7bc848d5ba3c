"""A pool's key is rotated on request, and made anew where somebody revoked it: afterwards one key exists, and works."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_crashes import CREATE, again, undisturbed

BLOCK = "mortal-key/p-credentials"
STEPS = ("issued", "mint", "minted", "accepted", "revoke", "revoked")


def keys(cloud):
    return {path.name for path in (cloud / "keys").iterdir()}


@pytest.mark.slow
def test_a_key_is_rotated(run, cloud, home):
    run(*CREATE)
    (old,) = keys(cloud)
    done = run("block", "rotate", BLOCK)
    assert done.code == 0, done.err
    assert "The launcher of the work pool p has a new key; the old one is revoked." in done.err
    assert old not in keys(cloud)
    undisturbed(run, cloud, home)
    newest = run("work-pool", "history", "p", "-o", "json").json[0]
    assert (newest["action"], newest["summary"]["key"]) == ("rotate-key", keys(cloud).pop())


@pytest.mark.slow
@pytest.mark.parametrize("of", ["SIGKILL", "SIGINT"])
@pytest.mark.parametrize("at", STEPS)
def test_a_rotation_that_dies_is_mended_by_the_next(run, cloud, home, at, of):
    run(*CREATE)
    died = run("block", "rotate", BLOCK, MORTAL_AT=at, MORTAL_OF=of)
    assert died.code == (-9 if of == "SIGKILL" else 130), died.err
    assert run("work-pool", "drift", "p").code == 0, "jobs can be launched meanwhile"
    assert again(run, "block", "rotate", BLOCK).code == 0
    undisturbed(run, cloud, home)


@pytest.mark.slow
def test_a_renamed_pool_keeps_its_one_block(run, cloud):
    run(*CREATE)
    assert run("work-pool", "update", "p", "--name", "q").code == 0
    assert run("block", "rotate", BLOCK).code == 0
    assert [block["name"] for block in run("block", "ls", "-o", "json").json] == ["p-credentials"]
    assert run("work-pool", "drift", "q").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["key", "block"])
def test_a_key_or_block_that_somebody_removed_is_made_anew(run, cloud, home, lost):
    run(*CREATE)
    if lost == "key":
        (cloud / "keys" / keys(cloud).pop()).unlink()
        assert run("work-pool", "drift", "p").code == 4
    else:
        import sqlite3

        with sqlite3.connect(home / "poolform.db") as database:  # the command line refuses to
            database.execute("DELETE FROM blocks")
    planned = run("work-pool", "plan", "p", "-o", "json")
    assert planned.code == 4
    assert planned.json["credentials"] == [
        "Create a key for the pool's launcher",
        "Put it into the credentials block p-credentials",
    ]
    assert run("work-pool", "provision-infra", "p", "--yes").code == 0
    undisturbed(run, cloud, home)


@pytest.mark.slow
def test_what_cannot_be_rotated_is_refused_with_the_next_step(run, cloud):
    assert run("block", "rotate", "secret/none").code == 2
    run("block", "create", "secret/mine", "-f", "-", stdin='{"value": "hush"}')
    refused = run("block", "rotate", "secret/mine")
    assert (refused.code, "poolform block create secret/mine" in refused.err) == (1, True)
    run(*CREATE, MORTAL_AT="minted", MORTAL_OF="SIGKILL")
    run("work-pool", "provision-infra", "p", "--yes")
    run("work-pool", "provision-infra", "p", "--set", "size=0", "--yes", MORTAL_AT="connect", MORTAL_OF="SIGKILL")
    refused = again(run, "block", "rotate", BLOCK)
    assert (refused.code, "poolform work-pool provision-infra p" in refused.err) == (1, True)
