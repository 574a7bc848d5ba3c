"""The real Terraform, a module of eight Google resources, and an imaginary Google cloud."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from poolform.testing.schemas import load
from poolform.testing.standin import crash, fail, slow, throttle

GOOGLE = Path(__file__).parent / "modules" / "google"
REPOSITORY = "google_artifact_registry_repository"
EVERYTHING = {
    "google_artifact_registry_repository": 1,
    "google_cloud_run_v2_job": 1,
    "google_project_iam_member": 2,
    "google_project_service": 2,
    "google_service_account": 1,
    "google_service_account_key": 1,
}


@pytest.fixture
def cloud(standin):
    return standin(load("google"))


@pytest.fixture
def terraform(cloud, module):
    return module(GOOGLE, project="p-1")


def wait_for(happened):
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "it did not happen within 20 seconds"
        time.sleep(0.02)


def test_a_module_lives_its_life(cloud, terraform):
    """Plan, apply, settle, update, replace, drift, import, destroy."""
    terraform("validate", "-no-color")
    assert len(terraform.actions()) == 8
    terraform("apply", "-no-color", "plan.bin")
    assert cloud.counts() == EVERYTHING
    assert cloud.only(REPOSITORY)["registry_uri"] == "europe-west1-docker.pkg.dev/p-1/flows"
    assert terraform("output", "-raw", "registry") == "europe-west1-docker.pkg.dev/p-1/flows"
    assert terraform.actions() == {}

    address = f"{REPOSITORY}.flows"
    assert terraform.actions("-var=description=new") == {address: ["update"]}
    terraform("apply", "-no-color", "plan.bin")
    assert cloud.only(REPOSITORY)["description"] == "new"
    assert terraform.actions("-var=repository=other")[address] == ["delete", "create"]
    terraform.apply("-var=description=new", "-var=repository=other")
    assert cloud.only(REPOSITORY)["repository_id"] == "other"
    job = cloud.only("google_cloud_run_v2_job")
    assert job["template"][0]["template"][0]["containers"][0]["image"].endswith("/other/flow:1")
    settled = ("-var=description=new", "-var=repository=other")
    assert terraform.actions(*settled) == {}

    cloud.put(REPOSITORY, cloud.only(REPOSITORY)["id"], {"description": "by hand"})
    cloud.delete("google_service_account_key", cloud.only("google_service_account_key")["id"])
    assert terraform.actions(*settled) == {address: ["update"], "google_service_account_key.runner": ["create"]}
    terraform.apply(*settled)
    assert terraform.actions(*settled) == {}

    account = cloud.only("google_service_account")["id"]
    terraform("state", "rm", "google_service_account.runner")
    terraform("import", "-no-color", *settled, "google_service_account.runner", account)
    assert terraform.actions(*settled) == {}

    terraform("destroy", "-auto-approve", "-no-color", *settled)
    assert cloud.counts() == {"google_project_service": 2}, "an API stays activated unless disable_on_destroy is set"


def test_what_was_made_stays_and_the_rest_follows(cloud, terraform):
    cloud.inject(fail("create", REPOSITORY, error="Error 403: denied"))
    code, said = terraform.run("apply", "-auto-approve", "-no-color")
    assert code == 1
    assert "Error 403: denied" in said
    assert cloud.counts().get(REPOSITORY) is None
    assert cloud.counts()["google_service_account"] == 1
    terraform.apply()
    assert cloud.counts() == EVERYTHING
    assert terraform.actions() == {}


def test_a_resource_whose_answer_was_lost_comes_back_tainted(cloud, terraform):
    cloud.inject(fail("create", "google_service_account", when="after"))
    code, _ = terraform.run("apply", "-auto-approve", "-no-color")
    assert code == 1
    assert cloud.counts()["google_service_account"] == 1
    assert terraform.actions()["google_service_account.runner"] == ["delete", "create"]
    terraform.apply()
    assert cloud.counts() == EVERYTHING


def test_a_crash_is_told_as_one_and_an_apply_resumes(cloud, terraform):
    cloud.inject(crash("create", REPOSITORY))
    code, said = terraform.run("apply", "-auto-approve", "-no-color")
    assert code == 1
    assert "Plugin did not respond" in said
    terraform.apply()
    assert cloud.counts() == EVERYTHING


def test_throttling_ends_after_so_many_calls(cloud, terraform):
    cloud.inject(throttle("create", "google_project_service", times=3))
    code, said = terraform.run("apply", "-auto-approve", "-no-color")
    assert code == 1
    assert said.count("Error 429") == 2  # both services, once each
    assert terraform.run("apply", "-auto-approve", "-no-color")[0] == 1
    terraform.apply()
    assert cloud.pending() == ()


def test_faults_are_matched_by_attributes(cloud, terraform):
    cloud.inject(fail("create", "google_project_iam_member", where={"role": "roles/logging.viewer"}))
    assert terraform.run("apply", "-auto-approve", "-no-color")[0] == 1
    assert {item["role"] for item in cloud.objects()["google_project_iam_member"].values()} == {"roles/run.developer"}


@pytest.mark.parametrize("interruptible", [False, True])
def test_ctrl_c_waits_for_a_slow_create_or_calls_it_off(cloud, terraform, interruptible):
    cloud.inject(slow("create", "google_service_account", seconds=1.5, interruptible=interruptible))
    process = terraform.start("apply", "-auto-approve", "-no-color")
    wait_for(lambda: cloud.calls("create", "google_service_account"))
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Interrupt received" in said
    made = "google_service_account.runner" in terraform.state()
    assert made is not interruptible
    terraform.apply()
    assert cloud.counts() == EVERYTHING


def test_killing_terraform_leaves_an_orphan_that_is_in_the_way(cloud, terraform):
    cloud.inject(slow("create", "google_service_account", seconds=2, when="after"))
    process = terraform.start("apply", "-auto-approve", "-no-color", "-parallelism=1")  # so that it is the only orphan
    wait_for(lambda: cloud.counts().get("google_service_account"))
    process.kill()
    process.communicate()
    assert "google_service_account.runner" not in terraform.state()
    code, said = terraform.run("apply", "-auto-approve", "-no-color")
    assert code == 1
    assert "Error 409: Service account flow-runner already exists within project p-1." in " ".join(said.split())
    terraform("import", "-no-color", "google_service_account.runner", cloud.only("google_service_account")["id"])
    terraform.apply()
    assert cloud.counts() == EVERYTHING


def test_bad_names_are_refused_before_any_plan(cloud, terraform):
    (terraform.folder / "bad.tf").write_text('resource "google_service_account" "bad" {\n  account_id = "Bad!"\n}\n')
    code, said = terraform.run("plan", "-no-color")
    assert code == 1
    assert 'account_id = "Bad!"' in said
    assert not cloud.calls("plan")


def test_secrets_of_the_schema_are_masked(cloud, terraform):
    terraform.apply()
    assert "private_key        = (sensitive value)" in terraform("state", "show", "google_service_account_key.runner")


@pytest.fixture
def installed(standin, module):
    cloud = standin(load("google"), installed=True)
    return cloud, module(GOOGLE, project="p-1")


@pytest.mark.slow
def test_an_installed_stand_in_is_a_provider_like_any_other(installed):
    """Init installs it and writes the lock file; each command starts it, speaks TLS with it, and ends it."""
    cloud, terraform = installed
    assert 'version     = "8.7.0"' in (terraform.folder / ".terraform.lock.hcl").read_text()
    terraform.apply()
    assert cloud.counts() == EVERYTHING
    assert terraform.actions() == {}
    cloud.inject(crash("delete", "google_cloud_run_v2_job"))
    code, said = terraform.run("destroy", "-auto-approve", "-no-color")
    assert code == 1
    assert "Plugin did not respond" in said
    terraform("destroy", "-auto-approve", "-no-color")
    assert cloud.counts() == {"google_project_service": 2}
    pids = {call.pid for call in cloud.calls()}
    assert os.getpid() not in pids
    wait_for(lambda: not any(map(alive, pids)))


@pytest.mark.slow
def test_an_installed_stand_in_goes_when_terraform_is_killed(installed):
    cloud, terraform = installed
    cloud.inject(slow("create", "google_service_account", seconds=30, when="after"))
    process = terraform.start("apply", "-auto-approve", "-no-color")
    wait_for(lambda: cloud.counts().get("google_service_account"))
    process.kill()
    process.communicate()
    wait_for(lambda: not any(alive(call.pid) for call in cloud.calls()))
    assert cloud.counts()["google_service_account"] == 1


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
