"""The process pool type: its module with the real Terraform, its connection, how it is taken apart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest
from pydantic import ValidationError

from poolform.core.pools.contract import ChecksCredentials, Disconnects
from poolform.core.runs.jobs import base_job_template, check_template
from poolform.core.runs.launchers import Job
from poolform.core.terraform.render import render
from poolform.provisioners.process import Process, ProcessJobVariables, ProcessVariables

terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")


def run(folder, *arguments):
    done = subprocess.run(
        ["terraform", f"-chdir={folder}", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def connection(tmp_path):
    return Process().connect(None, Process.outputs(folder=str(tmp_path / "jobs" / "a1")))


@terraform
@pytest.mark.parametrize("name", ["jobs", 'odd ${file("x")} %{ü}\n"quoted"'], ids=["plain", "looks_like_hcl"])
def test_the_module_is_clean_applies_and_gives_back_the_pools_own_folder(tmp_path, name):
    wanted = str(tmp_path / name)
    module = render(Process(), ProcessVariables(folder=wanted), pool_name="here", pool_id="a1b2c3d4")
    folder = tmp_path / "module"
    folder.mkdir()
    for path, text in module.files.items():
        (folder / path).write_text(text)
    run(folder, "init", "-input=false")
    run(folder, "fmt", "-check", "-diff")
    run(folder, "validate")
    run(folder, "apply", "-auto-approve", "-input=false")
    outputs = {key: value["value"] for key, value in json.loads(run(folder, "output", "-json")).items()}
    assert Process().connect(None, Process.outputs(**outputs)).settings == {"folder": f"{wanted}/a1b2c3d4"}
    run(folder, "destroy", "-auto-approve", "-input=false")


def test_values_reach_the_module_as_data_only(tmp_path):
    module = render(Process(), ProcessVariables(folder="/a/unique-value"), pool_name="unique-name", pool_id="a1b2c3d4")
    for path, text in module.files.items():
        assert not path.endswith(".tf") or not {"unique-value", "unique-name", "a1b2c3d4"} & set(text.split('"'))


def test_the_folder_is_found_in_the_environment_and_must_be_absolute(home):
    assert Process().discover() == {"folder": str(home / "jobs")}
    assert ProcessVariables(folder="~/jobs").folder == os.path.expanduser("~/jobs")  # noqa: PTH111
    with pytest.raises(ValidationError, match="it must be an absolute path"):
        ProcessVariables(folder="jobs")


def test_job_variables_are_those_of_prefects_process_worker():
    assert set(ProcessJobVariables.model_fields) == {
        *("name", "command", "env", "labels", "stream_output", "working_dir"),
    }
    check_template(base_job_template(Process))


def test_a_folder_that_can_be_written_to_is_made(connection, tmp_path):
    assert isinstance(Process(), ChecksCredentials)
    assert Process().authenticate(connection, None).verdict == "allowed"
    assert (tmp_path / "jobs" / "a1").is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_named(connection, tmp_path):
    (tmp_path / "jobs").mkdir(mode=0o500)
    finding = Process().authenticate(connection, None)
    assert (finding.verdict, finding.message) == (
        "missing",
        f"The folder {tmp_path}/jobs/a1 cannot be written to: Permission denied.",
    )


def test_a_folder_that_is_a_file_is_named(connection, tmp_path):
    (tmp_path / "jobs").touch()
    finding = Process().authenticate(connection, None)
    assert finding.verdict == "missing"
    assert finding.message == f"The folder {tmp_path}/jobs/a1 cannot be written to: Not a directory."
    assert "--set folder=PATH" in finding.hint


def test_disconnecting_stops_jobs_and_leaves_nothing(connection, tmp_path):
    assert isinstance(Process(), Disconnects)
    launcher = Process().launcher(connection, None)
    launcher.launch(Job("abc.1", "trial", ("sleep", "60"), {}))
    started = time.monotonic()
    while launcher.poll(["abc.1"])["abc.1"].state != "running":
        time.sleep(0.01)
    launcher.close()
    Process().disconnect(connection, None)
    assert time.monotonic() - started < 10
    assert not (tmp_path / "jobs" / "a1").exists()
    Process().disconnect(connection, None)
