"""What Cloud Run does to jobs and what the launcher makes of it: limits, deaths, late lines, secrets, trouble."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import pytest
from clouds.google import Fault
from clouds.google.wire import BUSY, REFUSED, THROTTLED

from poolform.core.pools.contract import Credential
from poolform.core.runs.jobs import base_job_template, resolve, with_defaults
from poolform.core.runs.launchers import Job, LaunchRefused, NoCapacity, Unavailable
from poolform.provisioners.cloud_run import cleanup, definition
from poolform.provisioners.cloud_run.launcher import CloudRunLauncher
from poolform.provisioners.cloud_run.logs import Cursor
from poolform.provisioners.cloud_run.pool_type import CloudRunPush
from poolform.provisioners.cloud_run.session import Google
from poolform.provisioners.cloud_run.status import status_of

from .conftest import REGION

SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def launcher(pool, owner):
    made = new_launcher(pool)
    yield made
    owner.faults.clear()
    owner.jobs.missing_images.clear()
    owner.jobs.start_delay, owner.jobs.most_jobs, owner.output.late = 0.0, 1000, None
    made.close()
    cleanup.disconnect(pool, None)


def new_launcher(pool, **more):
    return CloudRunLauncher(
        Google.of_launcher(pool.settings, None), pool.settings, settle=0.2, **{"interval": 0.0, **more}
    )


@pytest.fixture
def job(pool, request):
    counter = iter(range(1000))

    def make(code="pass", *, own=None, secrets=None, key=None, **job_variables):
        template = with_defaults(base_job_template(CloudRunPush), pool.job_defaults)
        configuration = resolve(template, job_variables)
        key = key or f"{abs(hash(request.node.name)):x}-{time.time_ns()}-{next(counter)}.1"
        shared = configuration.get("env") or {}
        return Job(key, "job", (sys.executable, "-c", code), configuration, {**shared, **(own or {})}, secrets or {})

    return make


def launch(launcher, job):
    return launcher.launch(replace(job, request=json.loads(json.dumps(launcher.prepare(job)))))


def wait(launcher, handle, state="exited", seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = launcher.poll([handle]).get(handle)
        if status is not None and status.state == state:
            return status
        time.sleep(0.02)
    pytest.fail(f"{handle} was not {state} within {seconds} s")


def drain(launcher, handle, cursor=None, seconds=30.0):
    deadline, texts = time.monotonic() + seconds, []
    while time.monotonic() < deadline:
        page = launcher.logs(handle, cursor)
        cursor = json.loads(json.dumps(page.cursor))
        texts += [line.text for line in page.lines]
        if page.done:
            return texts
        time.sleep(0.02)
    pytest.fail(f"the log of {handle} was not done within {seconds} s")


def task_of(prepared):
    return prepared["job"]["template"]["template"]


# -- what Cloud Run is asked ---------------------------------------------------------------------------------------


def test_every_output_of_the_module_reaches_the_job(launcher, job, pool):
    prepared = launcher.prepare(job())
    assert prepared["job_id"].startswith(f"{pool.settings['prefix']}-")
    assert task_of(prepared)["serviceAccount"] == pool.settings["runtime_email"]
    assert task_of(prepared)["maxRetries"] == 0
    assert task_of(prepared)["timeout"] == "3600s"
    assert prepared["job"]["labels"]["poolform-pool-id"] == "ab12cd34"


def test_a_name_holds_the_run_and_leaves_room_for_the_token_whatever_the_key(pool):
    prefix, run = pool.settings["prefix"], "0198f6b2-7c1e-7a10-8c7e-000000000001"
    assert definition.job_name(prefix, f"{run}.1") == f"poolform-ab12cd34-{run}-1"
    names = {
        definition.job_name(prefix, key)
        for key in (f"{run}.1", f"{run}.11", "x" * 90, "Schön.1", "a b.1", "a-b.1", "A-b.1")
    }
    assert len(names) == 7
    for name in names:
        assert len(name) + len(definition.EXECUTION_TOKEN) < 63
        assert name == name.lower()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"vpc_connector_name": "c"}, {"connector": "c", "egress": "PRIVATE_RANGES_ONLY"}),
        (
            {"network": "n", "subnetwork": "s", "vpc_egress": "all-traffic"},
            {"networkInterfaces": [{"network": "n", "subnetwork": "s"}], "egress": "ALL_TRAFFIC"},
        ),
        ({"vpc_connector_name": "c", "network": "n"}, {"connector": "c", "egress": "PRIVATE_RANGES_ONLY"}),
    ],
)
def test_a_network_is_reached_one_way_only(launcher, job, given, expected):
    assert task_of(launcher.prepare(job(**given))).get("vpcAccess") == expected


def test_databases_are_mounted_and_arguments_follow_the_command(launcher, job):
    wanted = job("import sys; print(sys.argv[1:])", args=["a", "", "c d"], cloudsql_instances=["p:r:i"])
    (own,) = task_of(launcher.prepare(wanted))["containers"]
    assert own["volumeMounts"] == [{"name": "cloudsql", "mountPath": "/cloudsql"}]
    assert drain(launcher, launch(launcher, wanted)) == ["['a', '', 'c d']"]


def test_what_a_platform_team_adds_to_the_template_stays(launcher, job):
    plain = job()
    configuration = json.loads(json.dumps(plain.configuration))
    configuration["job_body"]["annotations"] = {"team.example.com/owner": "data"}
    body = configuration["job_body"]["template"]["template"]
    body["containers"][0]["env"] = [{"name": "MODE", "value": "strict"}]
    body["executionEnvironment"] = "EXECUTION_ENVIRONMENT_GEN2"
    prepared = launcher.prepare(replace(plain, configuration=configuration))
    assert prepared["job"]["annotations"] == {"team.example.com/owner": "data"}
    assert {"name": "MODE", "value": "strict"} in task_of(prepared)["containers"][0]["env"]
    handle = launcher.launch(replace(plain, configuration=configuration, request=prepared))
    assert wait(launcher, handle).exit_code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"imaginary": 1}, 'no job of Cloud Run\'s API: .*"imaginary"'),
        ({"template": {"template": {"maxRetries": 3, "containers": [{"image": "i"}]}}}, "behind Poolform's back"),
    ],
)
def test_a_template_that_cloud_run_does_not_know_is_refused(launcher, job, change, said):
    plain = job()
    configuration = {**plain.configuration, "job_body": {**plain.configuration["job_body"], **change}}
    with pytest.raises(LaunchRefused, match=said):
        launch(launcher, replace(plain, configuration=configuration))


# -- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_value_over_the_limit_is_refused_with_both_numbers_before_anything_is_made(launcher, job, owner):
    fits = job("import os; print(len(os.environ['BIG']))", own={"BIG": "x" * 32_768})
    assert drain(launcher, launch(launcher, fits)) == ["32768"]
    before = owner.inventory()
    with pytest.raises(
        LaunchRefused, match=r"POOLFORM_PARAMETERS takes 32,770 bytes, and Cloud Run takes at most 32,768"
    ):
        launch(launcher, job(own={"POOLFORM_PARAMETERS": "ü" * 16_385}, secrets={"T": "x"}))
    with pytest.raises(LaunchRefused, match="1,001 environment variables, and Cloud Run takes at most 1,000"):
        launcher.prepare(job(own={f"V{number}": "" for number in range(1001)}))
    assert owner.inventory() == before


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"cpu": "3"}, r"no jobs with 3 CPU; it has 1, 2, 4, 6, 8"),
        ({"cpu": "1000m", "memory": "8Gi"}, r"1000m CPU and 8Gi of memory; with 1 CPU, it has 512Mi to 4096Mi"),
        ({"cpu": "8", "memory": "2G"}, r"with 8 CPU, it has 4096Mi to 32768Mi"),
    ],
)
def test_sizes_that_cloud_run_does_not_have_are_refused(launcher, job, size, said):
    with pytest.raises(LaunchRefused, match=said):
        launcher.prepare(job(**size))


@pytest.mark.slow
def test_many_jobs_are_asked_about_in_one_list(launcher, job, owner):
    handles = [launch(launcher, job()) for _ in range(5)]
    before = len(owner.door.seen)
    assert set(launcher.poll(handles)) == set(handles)
    assert [seen.name for seen in owner.door.seen[before:]].count("run.jobs.list") == 1
    assert not [seen for seen in owner.door.seen[before:] if seen.name == "run.jobs.get"]


def test_no_room_is_to_be_tried_again_and_then_starts_one_job(launcher, job, owner):
    owner.jobs.most_jobs = 0
    wanted = job()
    wanted = replace(wanted, request=launcher.prepare(wanted))
    with pytest.raises(NoCapacity, match="Quota exceeded"):
        launcher.launch(wanted)
    assert launcher.find(wanted.key) is None
    owner.jobs.most_jobs = 1000
    handle = launcher.launch(wanted)
    assert launcher.launch(wanted) == handle
    assert wait(launcher, handle).exit_code == 0


# -- deaths, in words ----------------------------------------------------------------------------------------------


def test_out_of_memory_is_said_with_the_amount(launcher, job, owner, monkeypatch):
    monkeypatch.setattr(owner.jobs, "memory_scale", 0.25)
    status = wait(launcher, launch(launcher, job("x = []\nwhile True: x.append(bytearray(1 << 20))")))
    assert status.exit_code == 137
    assert status.reason == "ran out of memory: it had 512Mi; give it more with the job variable memory"


@pytest.mark.slow
def test_a_timeout_of_cloud_run_s_is_called_one(launcher, job):
    status = wait(launcher, launch(launcher, job(SLEEP, timeout=1)))
    assert status.exit_code is None
    assert status.reason == "Cloud Run stopped it after 1 s; the job variable timeout allows more"


def test_an_image_that_is_not_there_is_named(launcher, job, owner):
    owner.jobs.missing_images.add("nowhere/nothing:1")
    status = wait(launcher, launch(launcher, job(image="nowhere/nothing:1")))
    assert status.exit_code is None
    assert status.reason == "the image cannot be pulled: Image 'nowhere/nothing:1' not found."


def test_what_the_operation_refuses_is_refused_and_leaves_nothing(launcher, job, owner):
    owner.jobs.refused_images.add("not/allowed:1")
    with pytest.raises(LaunchRefused, match="The image is not authorised by policy"):
        launch(launcher, job(image="not/allowed:1", secrets={"TOKEN": "hush"}))
    assert (owner.jobs.jobs, owner.vault.secrets) == ({}, {})


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "Memory limit of 512 MiB exceeded with 516 MiB used. Consider …",
            "ran out of memory: it had 512Mi; give it more",
        ),
        (
            "The configured timeout was reached.",
            "Cloud Run stopped it after 600 s; the job variable timeout allows more",
        ),
        ("Image 'gcr.io/p/i' not found.", "the image cannot be pulled: Image 'gcr.io/p/i' not found."),
        ("Quota exceeded for running executions", "no capacity: Quota exceeded for running executions"),
        ("VPC network was not found", "VPC network was not found"),
        ("The container exited with an error.", None),
    ],
)
def test_what_google_says_of_a_job_that_never_ran_is_said_in_words(message, said):
    from google.cloud import run_v2

    container = {"image": "i", "resources": {"limits": {"memory": "512Mi"}}}
    condition = {"state": "CONDITION_FAILED", "message": message}
    template = {"template": {"containers": [container], "timeout": "600s"}}
    found = status_of(
        run_v2.Job.from_json(json.dumps({"template": template, "terminalCondition": condition})), lambda: None
    )
    assert (found.state, found.exit_code) == ("exited", None)
    assert found.reason == said or found.reason.startswith(said)


def test_an_image_in_the_pools_repository_may_be_read_by_its_launcher(launcher, job, pool, owner):
    assert wait(launcher, launch(launcher, job(image=f"{pool.image_namespace}/team:1"))).exit_code == 0
    with pytest.raises(LaunchRefused, match=r"artifactregistry.repositories.downloadArtifacts.* denied"):
        launch(launcher, job(image=f"{pool.image_namespace}-other/team:1"))


def test_another_account_than_the_pools_is_refused(launcher, job):
    with pytest.raises(LaunchRefused, match=r"iam.serviceaccounts.actAs' denied on service account owner@"):
        launch(launcher, job(service_account_name="owner@lab-project.iam.gserviceaccount.com"))


# -- cancelling ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_job_that_has_not_begun_is_cancelled_before_it_does(launcher, job, owner):
    owner.jobs.start_delay = 1.0
    handle = launch(launcher, job("print('begun')"))
    assert launcher.poll([handle])[handle].state == "starting"
    launcher.cancel(handle)
    status = wait(launcher, handle)
    assert (status.exit_code, status.reason) == (None, "it was cancelled")
    assert drain(launcher, handle) == []


# -- output --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_lines_that_come_late_come_and_none_comes_twice(launcher, job, owner):
    """Shown after younger ones, and after a page has been read beyond them."""
    owner.output.late = lambda text: 1.5 if text.startswith("late") else 0.0
    code = "import time\nfor n in range(40):\n print(['late', 'soon'][n % 2], n, flush=True)\n time.sleep(0.05)"
    patient = new_launcher_like(launcher, settle=2.0)
    lines = drain(patient, launch(launcher, job(code)))
    assert sorted(lines) == sorted(f"{['late', 'soon'][n % 2]} {n}" for n in range(40))
    assert lines != sorted(lines, key=lambda line: int(line.split()[1])), "nothing came late: it proves nothing"
    patient.close()


def new_launcher_like(launcher, **more):
    return CloudRunLauncher(launcher._google, launcher._settings, **{"interval": 0.0, **more})


def test_a_line_that_is_json_comes_as_json(launcher, job):
    handle = launch(launcher, job('print(\'{"level": "info", "n": 1}\')\nprint(\'{not json\')'))
    first, second = drain(launcher, handle)
    assert json.loads(first) == {"level": "info", "n": 1}
    assert second == "{not json"


def test_a_cursor_stays_small_however_much_a_job_prints():
    entries = [
        {"insertId": str(n), "timestamp": f"2026-01-01T00:00:{n // 1000:02d}.{n % 1000:03d}000Z"} for n in range(9000)
    ]
    cursor = Cursor().after(entries)
    assert len(json.dumps(cursor.to_json())) < 250_000
    assert cursor.since >= "2026-01-01T00:00:04"
    assert Cursor.parse(json.loads(json.dumps(cursor.to_json()))) == cursor
    quiet = cursor.after([{"insertId": "z", "timestamp": "2026-01-01T01:00:00.123456789Z"}])
    assert len(quiet.seen) == 1


@pytest.mark.slow
def test_the_output_of_many_jobs_is_asked_for_together_and_not_too_often(launcher, job, owner):
    """Each line reaches the job that printed it; a project may ask sixty times a minute, whoever prints."""
    handles = [launch(launcher, job(f"for n in range(30): print({number}, n)")) for number in range(6)]
    for handle in handles:
        wait(launcher, handle)
    shared = new_launcher_like(launcher, interval=0.5, settle=0.2)
    before, began = len(owner.door.seen), time.monotonic()
    lines, cursors, left = {handle: [] for handle in handles}, dict.fromkeys(handles), set(handles)
    while left:
        assert time.monotonic() - began < 30, "the logs were not done"
        for handle in sorted(left):
            page = shared.logs(handle, cursors[handle])
            cursors[handle] = page.cursor
            lines[handle] += [line.text for line in page.lines]
            left -= {handle} if page.done else set()
        time.sleep(0.02)
    asked = [seen for seen in owner.door.seen[before:] if seen.name == "logging.entries.list"]
    assert [lines[handle] for handle in handles] == [[f"{number} {n}" for n in range(30)] for number in range(6)]
    assert len(asked) <= (time.monotonic() - began) / 0.5 + 1
    assert len(asked) < 3 * len(handles), "they were asked for one by one"


def test_cloud_logging_s_quota_delays_lines_and_costs_none(launcher, job, owner):
    handle = launch(launcher, job("print('kept')"))
    wait(launcher, handle)
    owner.faults.add(Fault("logging.entries.list", "error", error=THROTTLED))
    page = launcher.logs(handle, None)
    assert (list(page.lines), page.cursor, page.done) == ([], None, False)
    assert not launcher.logs(handle, None).lines, "it is left in peace for a while"
    other = new_launcher_like(launcher, settle=0.2)
    assert drain(other, handle) == ["kept"]


# -- secrets -------------------------------------------------------------------------------------------------------


def test_secrets_are_nowhere_but_in_secret_manager_and_the_job(launcher, job, owner):
    wanted = job("import os; print(len(os.environ['TOKEN']))", secrets={"TOKEN": "hush-4711-hush", "OTHER": "x"})
    prepared = launcher.prepare(wanted)
    assert "hush-4711-hush" not in json.dumps(prepared)
    handle = launcher.launch(replace(wanted, request=prepared))
    assert launcher.launch(replace(wanted, request=prepared)) == handle
    assert drain(launcher, handle) == ["14"]
    for seen in owner.door.seen:
        assert b"hush-4711-hush" not in seen.body
    assert len(owner.vault.secrets) == 2
    assert all(item["labels"]["poolform-pool-id"] == "ab12cd34" for item in owner.vault.secrets.values())
    launcher.remove(handle)
    assert owner.vault.secrets == {}


def test_a_refused_launch_leaves_no_secret(launcher, job, owner):
    owner.faults.add(Fault("run.jobs.create", "error", error=REFUSED))
    with pytest.raises(LaunchRefused, match="asked to refuse this"):
        launch(launcher, job(secrets={"TOKEN": "hush"}))
    assert owner.vault.secrets == {}


def test_secrets_of_other_people_are_used_by_reference_where_the_job_may_read_them(launcher, job, owner, pool):
    """A secret of the pool's own prefix is one that running flows may read; any other needs runtime_roles."""
    for name in (f"{pool.settings['prefix']}-shared", "team-password"):
        owner.vault.secrets[name], owner.vault.versions[name] = {"name": name}, [b"from-the-store"]
    try:
        own = {"PASSWORD": {"secret": f"{pool.settings['prefix']}-shared"}}
        assert drain(
            launcher, launch(launcher, job("import os; print(os.environ['PASSWORD'])", env_from_secrets=own))
        ) == ["from-the-store"]
        status = wait(launcher, launch(launcher, job(env_from_secrets={"PASSWORD": {"secret": "team-password"}})))
        assert status.exit_code is None
        assert status.reason.startswith("a secret cannot be read: Permission denied on secret: ")
        assert "team-password" in status.reason
    finally:
        owner.vault.secrets.clear()
        owner.vault.versions.clear()


def test_the_launcher_may_touch_no_secret_but_the_pools(launcher, owner):
    owner.vault.secrets["team-password"], owner.vault.versions["team-password"] = {}, [b"x"]
    google = launcher._google
    from google.api_core.exceptions import Forbidden

    with pytest.raises(Forbidden, match=r"secretmanager.secrets.delete.* denied"):
        google.call("DELETE", "secretmanager", "v1/projects/lab-project/secrets/team-password")
    owner.vault.secrets.clear()


@pytest.mark.parametrize("action", ["secretmanager.secrets.create", "secretmanager.versions.add"])
@pytest.mark.parametrize("kind", ["drop", "drop-after"])
def test_secrets_that_were_cut_off_are_there_with_the_job_and_gone_with_it(launcher, job, owner, action, kind):
    wanted = job("import os; print(os.environ['TOKEN'], os.environ['OTHER'])", secrets={"TOKEN": "a", "OTHER": "b"})
    wanted = replace(wanted, request=launcher.prepare(wanted))
    owner.faults.add(Fault(action, kind, skip=1))
    with pytest.raises(Unavailable, match="launching: Google cannot be reached"):
        launcher.launch(wanted)
    assert launcher.find(wanted.key) is None
    handle = launcher.launch(wanted)
    assert drain(launcher, handle) == ["a b"]
    owner.faults.add(Fault("secretmanager.secrets.delete", kind))
    launcher.remove(handle)
    assert (owner.vault.secrets, owner.jobs.jobs) == ({}, {})


# -- trouble on the way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["drop", "drop-after", "error", "error-after"])
def test_a_launch_that_was_cut_off_starts_one_job(launcher, job, owner, kind):
    wanted = job(SLEEP)
    wanted = replace(wanted, request=launcher.prepare(wanted))
    owner.faults.add(Fault("run.jobs.create", kind, error=BUSY))
    with pytest.raises(Unavailable, match=r"launching: (Google cannot be reached|.*currently unavailable)"):
        launcher.launch(wanted)
    assert (launcher.find(wanted.key) is not None) == kind.endswith("after")
    handle = launcher.launch(wanted)
    assert launcher.find(wanted.key) == handle
    assert owner.jobs.started.count(f"{wanted.request['job_id']}-go") == 1
    launcher.cancel(handle)
    wait(launcher, handle)


@pytest.mark.parametrize(
    ("action", "ask"),
    [
        ("run.jobs.get", lambda launcher, handle: launcher.poll([handle])),
        ("run.jobs.list", lambda launcher, handle: launcher.poll([f"{handle}{n}" for n in range(5)])),
        ("run.jobs.get", lambda launcher, handle: launcher.find("some-key.1")),
        ("run.executions.cancel", lambda launcher, handle: launcher.cancel(handle)),
        ("run.jobs.delete", lambda launcher, handle: launcher.remove(handle)),
    ],
    ids=["poll", "poll-many", "find", "cancel", "remove"],
)
@pytest.mark.parametrize("error", [THROTTLED, BUSY], ids=["throttled", "busy"])
def test_what_cannot_be_asked_now_can_be_asked_later(launcher, job, owner, action, ask, error):
    handle = launch(launcher, job())
    wait(launcher, handle)
    owner.faults.add(Fault(action, "error", error=error, times=None))
    with pytest.raises(Unavailable, match=r"Quota exceeded|currently unavailable"):
        ask(launcher, handle)
    owner.faults.clear()
    ask(launcher, handle)


def test_a_key_that_was_revoked_makes_jobs_unavailable_not_gone(launcher, job, pool, owner, lab):
    handle = launch(launcher, job())
    stale = json.loads((lab.folder / "owner.json").read_text())
    settings = {**pool.settings, "credentials": "key"}
    info = json.dumps({**stale, "private_key_id": "0" * 40})
    revoked = CloudRunLauncher(
        Google.of_launcher(settings, Credential("gcp-credentials", {"service_account_info": info})), settings
    )
    with pytest.raises(Unavailable, match=r"credential.*Invalid JWT Signature"):
        revoked.poll([handle])
    revoked.close()


# -- the pool's end ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_disconnecting_leaves_no_job_and_no_secret_whatever_they_were_doing(launcher, job, pool, owner):
    running = launch(launcher, job(SLEEP, secrets={"TOKEN": "hush"}))
    wait(launcher, running, "running")
    launch(launcher, job())
    name = f"{pool.settings['prefix']}-lost-0"  # of a launch that died before its job
    owner.vault.secrets[name], owner.vault.versions[name] = {"name": f"projects/1/secrets/{name}"}, [b"x"]
    owner.vault.secrets["team"], owner.vault.versions["team"] = {"name": "projects/1/secrets/team"}, [b"x"]
    cleanup.disconnect(pool, None)
    cleanup.disconnect(pool, None)
    assert owner.jobs.jobs == {}
    assert set(owner.vault.secrets) == {"team"}
    owner.vault.secrets.clear()


def test_a_launcher_that_cannot_get_in_any_more_is_done_without(pool, owner, lab, launcher, job):
    launch(launcher, job())
    grants = lab.google.cloud.objects()["google_service_account_iam_member"]
    (own,) = [
        name
        for name, item in grants.items()
        if "TokenCreator" in item["role"] and "ab12cd34" in item["service_account_id"]
    ]
    lab.google.cloud.delete("google_service_account_iam_member", own)
    try:
        cleanup.disconnect(pool, None)
    finally:
        lab.google.cloud.put("google_service_account_iam_member", own, grants[own])
    assert owner.jobs.jobs == {}


def test_jobs_of_another_region_are_not_the_pools(pool):
    assert pool.settings["region"] == REGION
