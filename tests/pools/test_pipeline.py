"""What people meet on a pool's way, right and wrong: the text, the exit code, and that nothing was changed."""

from __future__ import annotations

import gzip
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from poolform import Finding
from poolform.core.errors import PreflightFailed
from poolform.core.pools.preflight import require_permissions

CREATE = ("work-pool", "create", "p", "--type", "mortal", "--provision-infra", "--yes")


def pools(run):
    return [(pool["name"], pool["state"]) for pool in run("work-pool", "ls", "-o", "json").json]


def test_a_pool_from_nothing_to_nothing(run, home):
    assert run("work-pool", "create", "p", "--type", "mortal").code == 0
    assert pools(run) == [("p", "not-provisioned")]
    planned = run("work-pool", "plan", "p", "-o", "json")
    assert planned.code == 4
    assert planned.json["counts"] == {"create": 3}
    assert planned.json["credentials"] == [
        "Create a key for the pool's launcher",
        "Create the credentials block p-credentials",
    ]
    done = run("work-pool", "provision-infra", "p", "--yes")
    assert done.code == 0
    assert "Infrastructure successfully provisioned: the work pool p is ready." in done.err
    assert done.out == ""
    again = run("work-pool", "provision-infra", "p")
    assert (again.code, "Nothing to change: the infrastructure of p is as planned." in again.err) == (0, True)
    assert run("work-pool", "plan", "p").code == 0
    changed = run("work-pool", "provision-infra", "p", "--set", "size=0", "--set", "key=false", "--yes")
    assert changed.code == 0
    assert "Destroy the thing at last-" in changed.err
    assert "Revoke the key of the pool's launcher" in changed.err
    assert run("block", "ls", "-o", "json").json == []
    assert run("work-pool", "delete", "p", "--yes").code == 1
    assert run("work-pool", "deprovision", "p", "--yes").code == 0
    assert run("work-pool", "deprovision", "p", "--yes").code == 0
    assert run("work-pool", "delete", "p", "--yes").code == 0
    assert [entry["action"] for entry in run("work-pool", "history", "p", "-o", "json").json] == [
        "deprovision",
        "provision-infra",
        "provision-infra",
    ]


def test_create_with_plan_makes_nothing(run, home):
    planned = run("work-pool", "create", "p", "--type", "mortal", "--plan")
    assert planned.code == 4
    assert "Create a thing at first-" in planned.err
    assert pools(run) == []
    assert list(home.glob("tmp/*")) == []


def test_without_a_terminal_only_yes_applies(run, home):
    refused = run(*CREATE[:-1])
    assert refused.code == 3
    assert "Nothing was changed: there is no terminal to ask on." in refused.err
    assert pools(run) == []
    assert list(home.glob("tmp/*")) == []


def test_missing_permissions_are_all_named(run):
    refused = run(*CREATE, MORTAL_MISSING="lab.enter,lab.leave")
    assert refused.code == 1
    assert "2 permissions are missing; nothing was changed:\n  lab.enter\n  lab.leave\nAsk the tester.\n" in refused.err
    assert pools(run) == []


def test_what_nobody_grants_is_not_called_a_permission(run):
    refused = run("work-pool", "create", "q", "--type", "process", "--set", "folder=/dev/null/jobs", "--plan")
    assert refused.code == 1
    said = "Error: 1 check failed; nothing was changed:\n  folder: /dev/null/jobs cannot be made in /dev/null: "
    assert said in refused.err, refused.err
    granted, folder = Finding("lab.enter", "missing"), Finding("folder", "missing", is_permission=False)
    for findings, told in (
        ((granted, folder, granted), "2 permissions are missing and 1 check failed; nothing was changed:"),
        ((folder, folder), "2 checks failed; nothing was changed:"),
    ):
        with pytest.raises(PreflightFailed, match=told) as caught:
            require_permissions(findings)
        assert (caught.value.hint is None) == (granted not in findings)


def test_a_veto_names_the_plugin(run, home):
    refused = run(*CREATE, "--set", "size=11")
    assert refused.code == 1
    assert "Create a thing at " in refused.err, "what was refused is shown first"
    assert "The plan for p was stopped by review:\n  that is too large (mortal)" in refused.err
    assert pools(run) == []
    run("work-pool", "create", "p", "--type", "mortal")
    planned = run("work-pool", "plan", "p", "--set", "size=11", "--out", home / "p.plan", "-o", "json")
    assert (planned.code, planned.json["objections"]) == (1, ["that is too large (mortal)"])
    assert not (home / "p.plan").exists()


def test_another_account_is_refused(run):
    assert run(*CREATE).code == 0
    for verb in ("drift", "plan", "deprovision"):
        refused = run("work-pool", verb, "p", *(["--yes"] if verb == "deprovision" else []), MORTAL_ACCOUNT="a-2")
        assert refused.code == 1
        assert "The pool p belongs to account a-1, and tester is in account a-2." in refused.err
    assert pools(run) == [("p", "ready")]


def test_drift_says_what_was_changed_by_hand(run, home, cloud):
    assert run(*CREATE).code == 0
    assert run("work-pool", "drift", "p").code == 0
    (state,) = home.glob("pools/*/terraform.tfstate")
    document = json.loads(state.read_text())
    document["resources"] = [r for r in document["resources"] if r["name"] != "last"]
    document["serial"] += 1
    state.write_text(json.dumps(document))
    drifted = run("work-pool", "drift", "p", "-o", "json")
    assert drifted.code == 4
    assert [change["action"] for change in drifted.json["changes"]] == ["create"]
    (key,) = (cloud / "keys").iterdir()
    key.unlink()
    drifted = run("work-pool", "drift", "p")
    assert f"The pool's credential does not work: the key {key.name} is gone" in drifted.err
    assert run("work-pool", "provision-infra", "p", "--yes").code == 0
    assert run("work-pool", "drift", "p").code == 0


def test_a_reviewed_plan_is_applied_or_refused(run, tmp_path):
    run("work-pool", "create", "p", "--type", "mortal")
    (tmp_path / "p.plan").touch(0o644)  # such as an older one
    saved = run("work-pool", "plan", "p", "--out", "p.plan")
    assert saved.code == 4
    assert stat.S_IMODE((tmp_path / "p.plan").stat().st_mode) == 0o600
    done = run("work-pool", "provision-infra", "p", "--plan", "p.plan", "--yes")
    assert done.code == 0, done.err
    assert run("work-pool", "plan", "p").code == 0
    stale = run("work-pool", "provision-infra", "p", "--plan", "p.plan", "--yes")
    assert (stale.code, "The plan in p.plan is stale" in stale.err) == (1, True)
    run("work-pool", "create", "q", "--type", "mortal")
    wrong = run("work-pool", "provision-infra", "q", "--plan", "p.plan", "--yes")
    assert (wrong.code, "holds a plan for the pool p, not for this q" in wrong.err) == (2, True)
    (tmp_path / "x").write_text("no plan")
    for path, said in (("x", "x is not a plan of Poolform's"), ("none", "There is no plan file none.")):
        refused = run("work-pool", "provision-infra", "q", "--plan", path, "--yes")
        assert (refused.code, said in refused.err) == (2, True)


def test_a_damaged_plan_is_refused_whatever_is_wrong_with_it(run, tmp_path):
    run("work-pool", "create", "p", "--type", "mortal")
    assert run("work-pool", "plan", "p", "--out", "p.plan").code == 4
    whole = (tmp_path / "p.plan").read_bytes()
    archive = gzip.decompress(whole)
    renamed = archive.replace(b'"main.tf"', b'"../n.tf"')
    assert renamed != archive
    unreadable = gzip.compress(archive.replace(b'{"format"', b'\xff"format"'))
    half, flipped = whole[: len(whole) // 2], whole[:400] + bytes([whole[400] ^ 1]) + whole[401:]
    for wrong in (
        half,
        flipped,
        unreadable,
        gzip.compress(renamed),
        gzip.compress(archive.replace(b'"recorded', b'"r')),
    ):
        (tmp_path / "wrong.plan").write_bytes(wrong)
        refused = run("work-pool", "provision-infra", "p", "--plan", "wrong.plan", "--yes")
        assert (refused.code, refused.err.startswith("Error: wrong.plan ")) == (2, True), refused.err
    assert run("work-pool", "provision-infra", "p", "--plan", "p.plan", "--yes").code == 0


def test_a_plan_that_grows_stale_while_it_is_shown_is_refused(run, tmp_path, cloud):
    """Two people: the slower one's plan is not applied over the faster one's."""
    assert run(*CREATE).code == 0
    go = tmp_path / "go"
    slow = subprocess.Popen(
        [Path(sys.executable).with_name("poolform"), "work-pool", "provision-infra", "p", "--set", "size=3", "--yes"],
        env={**os.environ, "MORTAL_WAIT_FOR": str(go)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not go.with_suffix(".waiting").exists():
        time.sleep(0.02)
    fast = run("work-pool", "provision-infra", "p", "--set", "size=2", "--yes")
    go.touch()
    _, said = slow.communicate(timeout=60)
    assert fast.code == 0, fast.err
    assert slow.returncode == 1
    assert "The pool p was changed by somebody after this plan was made." in said


def test_render_writes_a_module_that_works_without_poolform(run, tmp_path):
    assert run("work-pool", "render", "--type", "mortal", "--set", "size=2", "--out", "module").code == 0
    folder = tmp_path / "module"
    assert {"README.md", "main.tf", "outputs.tf", "variables.tf", "versions.tf", "terraform.tfvars.json"} == {
        path.name for path in folder.iterdir()
    }
    for verb in (["init"], ["validate"], ["fmt", "-check"], ["apply", "-auto-approve"]):
        subprocess.run(["terraform", *verb], cwd=folder, check=True, capture_output=True)
    refused = run("work-pool", "render", "--type", "mortal", "--out", "module")
    assert (refused.code, "module is not an empty folder." in refused.err) == (2, True)
    printed = run("work-pool", "render", "--type", "mortal")
    assert 'resource "terraform_data" "killer"' in printed.out
    files = run("work-pool", "render", "--type", "mortal", "-o", "json").json
    assert all(f"# ---- {name}\n" in printed.out for name in files)
    assert files["main.tf"] in printed.out


def test_the_graph_is_mermaid(run):
    graph = run("work-pool", "graph", "--type", "mortal")
    assert graph.code == 0
    assert graph.out.startswith("flowchart LR\n")
    assert "terraform_data.killer" in graph.out
    assert " --> " in graph.out
    read = run("work-pool", "graph", "--type", "mortal", "-o", "json").json
    assert "terraform_data.killer" in read["resources"]
    assert len(read["needs"]) == graph.out.count(" --> ")
    assert all({edge["from"], edge["to"]} <= set(read["resources"]) for edge in read["needs"])


def test_a_pool_whose_plugin_is_gone_can_be_compared_and_destroyed(run, cloud):
    assert run(*CREATE).code == 0
    assert run("work-pool", "drift", "p", POOLFORM_PLUGINS="").code == 0
    gone = run("work-pool", "provision-infra", "p", "--yes", POOLFORM_PLUGINS="")
    assert (gone.code, "of the work pool p is not here: the plugin mortal brought it." in gone.err) == (2, True)
    done = run("work-pool", "deprovision", "p", "--yes", POOLFORM_PLUGINS="")
    assert done.code == 0, done.err
    assert "Warning: the plugin mortal is not installed" in done.err
    assert pools(run) == [("p", "not-provisioned")]


def test_a_pool_upgrades_by_plan(run):
    assert run(*CREATE).code == 0
    refused = run("work-pool", "provision-infra", "p", "--yes", MORTAL_REVISION="2")
    assert refused.code == 1
    assert "See what would change, and change it: poolform work-pool upgrade p" in refused.err
    shown = run("work-pool", "upgrade", "p", "--plan", MORTAL_REVISION="2")
    assert (shown.code, "Create a thing at last-" in shown.err) == (4, True)
    assert "To upgrade the work pool p (mortal, brought by mortal) from revision 1 to 2 as tester" in shown.err
    planned = run("work-pool", "upgrade", "p", "--plan", "-o", "json", MORTAL_REVISION="2").json
    assert (planned["purpose"], planned["upgraded_from"], planned["revision"]) == ("upgrade", 1, 2)
    done = run("work-pool", "upgrade", "p", "--yes", MORTAL_REVISION="2")
    assert (done.code, "the work pool p is ready, upgraded from revision 1 to 2 of mortal." in done.err) == (0, True)
    assert "from revision 1 to 2" in run("work-pool", "history", "p").out
    again = run("work-pool", "upgrade", "p", MORTAL_REVISION="2")
    assert (again.code, "Nothing to upgrade: the work pool p is at revision 2 of mortal" in again.err) == (0, True)
    pool = run("work-pool", "inspect", "p", "-o", "json").json
    assert (pool["revision"], pool["variables"]["size"]) == (2, 2)
    older = run("work-pool", "plan", "p")
    assert (older.code, "Upgrade that plugin here." in older.err) == (1, True)


def test_variables_that_do_not_fit_a_new_revision_are_the_plugins_fault_and_keep_nobody_from_destroying(run, cloud):
    assert run(*CREATE).code == 0
    newer = {"MORTAL_REVISION": "2", "MORTAL_RENAMED": "too-little"}
    told = "the variables that the pool p stored at revision 1 do not fit revision 2: "
    size = "size: there is no such variable. Known: account, key, width."
    for verb in (("upgrade",), ("upgrade", "--plan")):
        refused = run("work-pool", verb[0], "p", *verb[1:], **newer)
        assert refused.code == 1
        assert told in refused.err
        assert size in refused.err
        assert "width: it is required and was not given." in refused.err
        assert "Its author is to write `migrate`, so that they do; until then, use the version that made the pool" in (
            refused.err
        )
        assert "fault" not in refused.err
    assert told in run("work-pool", "render", "p", **newer).err
    compared = run("work-pool", "drift", "p", **newer)
    assert (compared.code, "So it was not checked whether this is the pool's account." in compared.err) == (0, True)
    same = run("work-pool", "plan", "p", MORTAL_RENAMED="too-little")
    assert "stored at revision 1 do not fit it any more: width: it is required" in same.err
    gone = run("work-pool", "deprovision", "p", "--yes", **newer)
    assert gone.code == 0, gone.err
    assert "So keys that it made are left to you." in gone.err
    assert pools(run) == [("p", "not-provisioned")]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("fails", "plugin mortal: migrating p from revision 1 of the pool type mortal failed: ZeroDivisionError"),
        ("nothing", "migrate of the pool type mortal returned None, which is not a dictionary of variables."),
    ],
)
def test_a_migration_that_fails_is_the_plugins_fault(run, how, said):
    assert run(*CREATE).code == 0
    refused = run("work-pool", "upgrade", "p", "--plan", MORTAL_REVISION="2", MORTAL_RENAMED=how)
    assert (refused.code, said in refused.err) == (1, True), refused.err


def test_a_local_state_elsewhere_is_not_done_without(run, home):
    """Another machine shares the database, but the state is in the home of whoever provisioned."""
    assert run(*CREATE).code == 0
    (folder,) = (home / "pools").iterdir()
    folder.rename(home / "elsewhere")
    for verb in ("drift", "plan", "deprovision", "provision-infra"):
        refused = run("work-pool", verb, "p", *(["--yes"] if verb.startswith(("de", "pro")) else []))
        assert (refused.code, "The Terraform state of the pool p is not on this machine" in refused.err) == (1, True)


def test_no_secret_is_where_it_should_not_be(run, home, cloud):
    done = run(*CREATE)
    (key,) = (cloud / "keys").iterdir()
    secret = key.read_text()
    everything = [
        done.out,
        done.err,
        run("work-pool", "inspect", "p").out,
        run("block", "inspect", "mortal-key/p-credentials").out,
    ]
    everything += [path.read_bytes().decode(errors="replace") for path in home.rglob("*") if path.is_file()]
    assert not [text for text in everything if secret in text]
    assert secret in run("block", "inspect", "mortal-key/p-credentials", "--reveal").out


def test_the_home_is_private(run, home):
    run(*CREATE)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for name in ("secret.keys", "poolform.db"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600


def test_many_pools_at_once(run):
    results = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: run("work-pool", "create", f"p{n}", *CREATE[3:])}))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {result.code for result in results.values()} == {0}
    assert len(pools(run)) == 4
