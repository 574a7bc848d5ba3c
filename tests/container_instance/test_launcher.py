"""What Azure does to jobs and what the launcher makes of it: limits, capacity, deaths in words, trouble on the way."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from clouds.azure.wire import BROKEN, REFUSED, THROTTLED, AzureError
from clouds.faults import Fault

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Connection
from poolform.core.runs.jobs import base_job_template, resolve, with_defaults
from poolform.core.runs.launchers import Job, LaunchRefused, NoCapacity, Unavailable
from poolform.provisioners.container_instance.group import PAYLOAD_LIMIT, group_name
from poolform.provisioners.container_instance.launcher import ContainerInstanceLauncher
from poolform.provisioners.container_instance.output import GAP
from poolform.provisioners.container_instance.pool_type import ContainerInstancePush
from poolform.provisioners.container_instance.session import Access

from .test_module import IDENTITY, SUBNET, WORKSPACE

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
LINES = "for n in range(2000): print('line', n)\nimport sys; sys.stdout.flush()"


def new_launcher(pool, **settings):
    access = Access.of_launcher(pool.settings, pool.credential)
    return ContainerInstanceLauncher(access, {**pool.settings, **settings}, settle=0.2)


@pytest.fixture
def launcher(pool, owner):
    made = new_launcher(pool)
    owner.groups.stop_timeout = 1.0
    yield made
    owner.faults.clear()
    owner.groups.clear()
    made.close()


@pytest.fixture
def job(pool, request):
    counter = iter(range(1000))

    def make(code="pass", *, env=None, secrets=None, labels=None, key=None, **job_variables):
        template = with_defaults(base_job_template(ContainerInstancePush), pool.connection.job_defaults)
        key = key or f"{request.node.name[:20].lower()}-{time.time_ns()}-{next(counter)}.1".replace("_", "-")
        configuration = resolve(template, job_variables)
        return Job(key, "job", (sys.executable, "-c", code), configuration, env or {}, secrets or {}, labels or {})

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


def drain(launcher, handle):
    texts, cursor, done = [], None, False
    while not done:
        page = launcher.logs(handle, cursor)
        texts += [line.text for line in page.lines]
        cursor, done = json.loads(json.dumps(page.cursor)), page.done
    return texts


# The group


def test_every_setting_of_the_pool_reaches_the_group(launcher, job, pool):
    body = launcher.prepare(job(labels={"team": "data", "a/b": "c"}))
    assert body["location"] == "westeurope"
    assert body["tags"]["poolform-pool-id"] == pool.pool_id
    assert body["tags"]["team"] == "data"
    assert body["tags"]["a-b"] == "c"
    properties = body["properties"]
    assert properties["restartPolicy"] == "Never"
    assert "identity" not in body
    assert "subnetIds" not in properties
    assert "dnsConfig" not in properties


def test_images_of_the_pools_registry_are_pulled_by_its_identity_and_others_by_nobody(launcher, job, pool, owner):
    server, identity = pool.settings["registry_login_server"], pool.settings["pull_identity_id"]
    body = launcher.prepare(job(image=f"{server}/flows:1"))
    assert body["properties"]["imageRegistryCredentials"] == [{"server": server, "identity": identity}]
    assert body["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}
    assert wait(launcher, launch(launcher, job(image=f"{server}/flows:1"))).exit_code == 0
    other = launcher.prepare(job(image_registry={"registry_url": "team.azurecr.io", "identity": IDENTITY}))
    assert other["properties"]["imageRegistryCredentials"] == [{"server": "team.azurecr.io", "identity": IDENTITY}]
    assert list(other["identity"]["userAssignedIdentities"]) == [IDENTITY]


def test_what_a_platform_team_adds_to_the_template_stays(launcher, job):
    plain = job(env={"TEAM": "data"})
    configuration = json.loads(json.dumps(plain.configuration))
    group = configuration["container_group"]
    group["zones"] = ["1"]
    group["properties"]["containers"].append({"name": "proxy", "properties": {"image": "envoy"}})
    own = group["properties"]["containers"][0]["properties"]
    own["environmentVariables"] = [{"name": "SITE", "value": "x"}]
    body = launcher.prepare(replace(plain, configuration=configuration))
    assert [container["name"] for container in body["properties"]["containers"]] == ["flow", "proxy"]
    assert body["zones"] == ["1"]
    own = body["properties"]["containers"][0]["properties"]
    assert own["environmentVariables"] == [{"name": "SITE", "value": "x"}, {"name": "TEAM", "value": "data"}]


def test_a_key_fits_into_a_groups_name_whatever_it_is():
    key = "0198f6b2-7c1e-7a10-8c7e-000000000001.1"
    assert group_name("ab12cd34", key) == "poolform-ab12cd34-0198f6b2-7c1e-7a10-8c7e-000000000001-1"
    odd = ("x" * 65, "x" * 66, "schön.1", "a b.1", "A.1", "a.1", "a.11", "a--1.1", "a.1.1", "-")
    names = {group_name("ab12cd34", key) for key in odd}
    assert len(names) == len(odd)
    assert all(len(name) <= 63 and name.isascii() for name in names)


def test_a_run_in_a_subnet_with_an_identity_of_its_own_takes_the_launchers_right_to_both(job, pool, owner):
    launcher = new_launcher(pool)
    owner.groups.known_ids |= {SUBNET, IDENTITY}
    for wanted, action in (
        ({"subnet_ids": [SUBNET]}, "Microsoft.Network/virtualNetworks/subnets/join/action"),
        ({"identities": [IDENTITY]}, "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"),
    ):
        with pytest.raises(LaunchRefused, match=f"{action}.*LinkedAuthorizationFailed"):
            launch(launcher, job(**wanted))
    launcher.close()


# Limits and capacity


def test_a_payload_over_the_limit_is_refused_with_both_numbers(launcher, job):
    assert launcher.prepare(job(env={"DATA": "\N{SNOWMAN}" * (PAYLOAD_LIMIT // 3 - 200)}))
    with pytest.raises(LaunchRefused, match=r"1,1\d\d,\d{3} bytes, and a container group takes at most 1,048,576"):
        launcher.prepare(job(env={"DATA": "x" * 1_100_000}))


def test_the_largest_payload_fits_into_a_request(launcher, job, owner):
    """In JSON a snowman takes six letters, and three bytes in the payload."""
    owner.groups.making = 30.0  # Linux takes 128 KiB in one variable: it is to be made, not run
    launch(launcher, job(env={"DATA": "\N{SNOWMAN}" * (PAYLOAD_LIMIT // 3 - 200)}))
    body = owner.named("PUT groups")[-1].body
    assert 2_000_000 < len(body) < 4 * 1024 * 1024


def test_no_capacity_and_no_quota_are_to_be_tried_again_and_then_start_one_job(launcher, job, owner):
    wanted = job()
    owner.groups.capacity = False
    with pytest.raises(NoCapacity, match="not available in the location 'westeurope'"):
        launch(launcher, wanted)
    owner.groups.capacity, owner.groups.cores = True, 0.5
    with pytest.raises(NoCapacity, match="quota 'StandardCores' exceeded"):
        launch(launcher, wanted)
    owner.groups.cores = 100.0
    handle = launch(launcher, wanted)
    assert launch(launcher, wanted) == handle
    wait(launcher, handle)
    assert owner.groups.named(handle).starts == 1


def test_capacity_that_runs_out_later_is_said(launcher, job, owner):
    owner.groups.capacity_later = False
    status = wait(launcher, launch(launcher, job()))
    assert status.exit_code is None
    assert status.reason.startswith("no capacity: The requested resource is not available")


def test_more_groups_an_hour_than_azure_makes_are_to_be_tried_again(launcher, job, owner):
    owner.groups._created = [time.monotonic()] * 300
    with pytest.raises(Unavailable, match="creates an hour"):
        launch(launcher, job())


# Deaths, in words


def test_out_of_memory_is_said_with_the_amount(launcher, job, owner):
    owner.groups.memory_scale = 0.05
    status = wait(launcher, launch(launcher, job("x = []\nwhile True: x.append(bytearray(1 << 20))", memory=2.5)))
    assert status.exit_code == 137
    assert status.reason == "ran out of memory: it had 2.5 GB; give it more with the job variable memory"


def test_an_image_that_is_not_there_is_named(launcher, job, owner):
    owner.groups.missing_images.add("nowhere/nothing:1")
    with pytest.raises(LaunchRefused, match=r"^the image cannot be pulled: The image 'nowhere/nothing:1'"):
        launch(launcher, job(image="nowhere/nothing:1"))


def test_an_image_that_azure_finds_and_then_cannot_pull_ends_the_job(launcher, job, owner):
    owner.groups.unpullable_images.add("broken/image:1")
    status = wait(launcher, launch(launcher, job(image="broken/image:1")))
    assert status.exit_code is None
    assert status.reason == 'the image cannot be pulled: Failed to pull image "broken/image:1": manifest unknown'


def test_an_ordinary_end_has_no_reason_but_its_code(launcher, job):
    assert wait(launcher, launch(launcher, job("import sys; sys.exit(3)"))).reason is None


def test_a_group_that_somebody_stopped_says_so(launcher, job, owner):
    owner.groups.unpullable_images.add("slow/image:1")
    handle = launch(launcher, job(image="slow/image:1"))
    owner.groups.named(handle).state = "Stopped"
    assert wait(launcher, handle).reason


# Output


@pytest.mark.slow
def test_output_of_a_job_that_lives_on_comes_whole(launcher, job):
    handle = launch(launcher, job(f"{LINES}\nimport time; time.sleep(1.5)"))
    assert drain(launcher, handle) == [f"line {n}" for n in range(2000)]


def test_output_that_is_gone_before_anybody_read_it_is_said_to_be(launcher, job):
    handle = launch(launcher, job(LINES))
    wait(launcher, handle)
    texts = drain(launcher, handle)
    assert texts[0] == GAP
    assert texts[-1] == "line 1999"
    assert texts[1:] == [f"line {n}" for n in range(2000 - len(texts) + 1, 2000)]


def test_output_goes_with_its_group(launcher, job):
    handle = launch(launcher, job("print(1)"))
    wait(launcher, handle)
    launcher.remove(handle)
    assert launcher.logs(handle, None).done


# Trouble on the way


@pytest.mark.parametrize("kind", ["drop", "drop-after", "error-after", "error"])
def test_a_launch_that_was_cut_off_starts_one_job(launcher, job, owner, kind):
    wanted = job(SLEEP)
    owner.faults.add(Fault("PUT groups", kind, error=BROKEN))
    with pytest.raises(Unavailable):
        launch(launcher, wanted)
    handle = launch(launcher, wanted)
    wait(launcher, handle, "running")
    assert owner.groups.named(handle).starts == 1


def test_a_put_is_never_repeated_unseen(launcher, job, owner):
    """It would restart the job, if Azure had made the group meanwhile."""
    before = len(owner.named("PUT groups"))
    owner.faults.add(Fault("PUT groups", "drop-after", times=5))
    with pytest.raises(Unavailable):
        launch(launcher, job())
    assert len(owner.named("PUT groups")) == before + 1


def test_a_group_that_somebody_else_is_making_is_this_one(launcher, job, owner, pool):
    """Both are told that there is none, and then ask for it."""
    wanted, other = job(SLEEP), new_launcher(pool)
    owner.groups.making = 0.5
    owner.faults.add(Fault("PUT groups", "lag", seconds=0.4, times=2))
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda one: launch(one, wanted), (launcher, other))
    assert first == second
    assert len(owner.named("PUT groups")[-2:]) == 2
    wait(launcher, first, "running")
    assert owner.groups.named(first).starts == 1
    other.close()


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("GET groups", lambda launcher, handle: launcher.poll([handle])),
        ("GET groups", lambda launcher, handle: launcher.find("some-key.1")),
        ("GET logs", lambda launcher, handle: launcher.logs(handle, None)),
        ("POST stop", lambda launcher, handle: launcher.cancel(handle)),
        ("DELETE groups", lambda launcher, handle: launcher.remove(handle)),
    ],
)
@pytest.mark.parametrize("fault", [{"error": THROTTLED}, {"error": BROKEN}, {"kind": "drop"}], ids=str)
def test_what_cannot_be_asked_now_can_be_asked_later(launcher, job, owner, name, ask, fault):
    handle = launch(launcher, job(SLEEP))
    wait(launcher, handle, "running")
    owner.faults.add(Fault(name, **{"kind": "error", **fault}, times=None))
    with pytest.raises(Unavailable):
        ask(launcher, handle)
    owner.faults.clear()
    ask(launcher, handle)


def test_what_azure_is_still_making_can_be_stopped_and_removed_later(launcher, job, owner):
    owner.groups.making = 1.0
    handle = launch(launcher, job(SLEEP))
    for ask in (launcher.cancel, launcher.remove):
        with pytest.raises(Unavailable, match="still transitioning"):
            ask(handle)
    assert launcher.logs(handle, None).lines == []
    wait(launcher, handle, "running")
    launcher.cancel(handle)
    wait(launcher, handle)


def test_what_azure_will_never_do_is_refused(launcher, job, owner):
    owner.faults.add(Fault("PUT groups", "error", error=REFUSED))
    with pytest.raises(LaunchRefused, match="asked to refuse this"):
        launch(launcher, job())
    owner.faults.add(Fault("PUT groups", "error", error=AzureError(409, "RegistryErrorResponse", "retry later")))
    with pytest.raises(Unavailable, match="retry later"):
        launch(launcher, job())


def test_a_secret_that_was_revoked_is_no_end_of_jobs(launcher, job, pool, owner):
    handle = launch(launcher, job(SLEEP))
    wrong = replace(pool.credential, data={**pool.credential.data, "client_secret": "revoked"})
    lost = ContainerInstanceLauncher(Access.of_launcher(pool.settings, wrong), pool.settings)
    for ask in (lambda: lost.poll([handle]), lambda: launch(lost, job())):
        with pytest.raises(Unavailable, match=r"does not accept the pool's credential.*AADSTS7000215"):
            ask()
    lost.close()


def test_a_resource_group_that_is_gone_has_no_jobs(pool, owner):
    settings = {**pool.settings, "credentials": "ambient", "resource_group_name": "gone"}
    lost = ContainerInstanceLauncher(Access.of_launcher(settings, None), settings)
    assert lost.poll(["poolform-ab12cd34-x-1"]) == {}
    assert lost.find("x.1") is None
    lost.close()


# Secrets


def test_secrets_are_in_one_request_and_the_job_and_nowhere_else(launcher, job, owner):
    wanted = job("import os; print(len(os.environ['TOKEN']))", env={"TOKEN": "?"}, secrets={"TOKEN": "hush-4711-hush"})
    prepared = launcher.prepare(wanted)
    assert "hush-4711-hush" not in json.dumps(prepared)
    handle = launch(launcher, wanted)
    assert wait(launcher, handle).exit_code == 0
    assert drain(launcher, handle) == ["14"]
    carrying = [request.name for request in owner.requests if b"hush-4711-hush" in request.body]
    assert carrying == ["PUT groups"]
    shown = owner.groups.get(owner.groups.named(handle).id).content
    assert "hush-4711-hush" not in json.dumps(shown)


def test_the_log_workspaces_key_is_asked_for_and_kept_by_nobody(pool, job, owner, launcher):
    """As the owner: the pool of these tests has no workspace, and its launcher no right to one."""
    owner.manager.resource_groups.add("networks")
    settings = {**pool.settings, "credentials": "ambient", "log_analytics_workspace_id": WORKSPACE}
    ambient = ContainerInstanceLauncher(Access.of_launcher(settings, None), settings)
    asked = len(owner.named("POST sharedKeys"))
    for _ in range(2):
        wanted = job()
        assert owner.manager.workspace_key not in json.dumps(ambient.prepare(wanted))
        group = owner.groups.named(launch(ambient, wanted))
        diagnostics = group.body["properties"]["diagnostics"]["logAnalytics"]
        assert diagnostics["workspaceKey"] == owner.manager.workspace_key
        assert diagnostics["workspaceResourceId"] == WORKSPACE
    assert len(owner.named("POST sharedKeys")) == asked + 1
    refused = ContainerInstanceLauncher(Access.of_launcher(pool.settings, pool.credential), {
        **pool.settings, "log_analytics_workspace_id": WORKSPACE,
    })  # fmt: skip
    with pytest.raises(LaunchRefused, match=r"Microsoft\.OperationalInsights/workspaces/read"):
        launch(refused, job())
    ambient.close()
    refused.close()


# Clearing away


@pytest.mark.slow
def test_disconnecting_removes_the_pools_groups_and_nobody_elses(launcher, job, pool, owner):
    push = ContainerInstancePush()
    owner.groups.making = 0.6
    ours = [launch(launcher, job(SLEEP)), launch(launcher, job("print(1)"))]
    neighbour = new_launcher(pool, pool_id="zz99zz99")  # in the same resource group
    theirs = launch(neighbour, job(SLEEP))
    neighbour.close()
    push.disconnect(pool.connection, pool.credential)
    assert owner.groups.names() == [theirs]
    push.disconnect(pool.connection, None)  # twice is fine, and without the secret, as the caller
    assert not set(ours) & set(owner.groups.names())
    gone = Connection({**pool.settings, "resource_group_name": "gone"})
    push.disconnect(gone, pool.credential)


def test_disconnecting_says_what_keeps_it_from_it(pool, owner, launcher, job):
    wait(launcher, launch(launcher, job(SLEEP)), "running")
    owner.faults.add(Fault("DELETE groups", "error", error=AzureError(403, "AuthorizationFailed", "no"), times=None))
    with pytest.raises(PoolformError, match="Clearing away what jobs left failed: no") as failed:
        ContainerInstancePush().disconnect(pool.connection, pool.credential)
    assert "administers the Azure subscription" in failed.value.hint
