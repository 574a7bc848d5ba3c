"""What Kubernetes does to jobs and what the launcher makes of it: limits, quotas, deaths, trouble on the way."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from clouds.faults import Fault
from clouds.kubernetes import ApiError

from poolform.core.runs.jobs import base_job_template, load_template, resolve, with_defaults
from poolform.core.runs.launchers import Job, LaunchRefused, NoCapacity, Unavailable
from poolform.provisioners.kubernetes.launcher import KubernetesLauncher
from poolform.provisioners.kubernetes.manifest import NAME_LIMIT, SHORTEST_TTL, job_name
from poolform.provisioners.kubernetes.permissions import LAUNCHER, Permission
from poolform.provisioners.kubernetes.pool_type import Kubernetes
from poolform.provisioners.kubernetes.session import Cluster

PREFECT = Path(__file__).parents[1] / "runs" / "base_job_templates" / "kubernetes.json"
SLEEP = "import time; print('up', flush=True); time.sleep(600)"
BUSY = ApiError(429, "TooManyRequests", "too many requests, please try again later")
BROKEN = ApiError(500, "InternalError", "etcdserver: leader changed")
STRANGER = ApiError(401, "Unauthorized", "Unauthorized")


@pytest.fixture
def launcher(pool, cluster):
    cluster.node.stop_timeout = 0.3
    made = KubernetesLauncher(Cluster.of_launcher(pool.settings), pool.settings)
    yield made
    cluster.faults.clear()
    cluster.node.memory_scale, cluster.node.stop_timeout = 1.0, 30.0
    cluster.node.missing_images.clear()
    for job in cluster.objects.find("jobs"):
        made.remove(f"{job['metadata']['namespace']}/{job['metadata']['name']}")
    made.close()
    assert cluster.inventory() == []


@pytest.fixture
def job(pool, request):
    counter = iter(range(1000))

    def make(code="pass", *, own=None, secrets=None, key=None, template=None, **job_variables):
        template = with_defaults(template or base_job_template(Kubernetes), pool.job_defaults)
        configuration = resolve(template, job_variables)
        key = key or f"{abs(hash(request.node.name)):x}-{time.time_ns()}-{next(counter)}.1"
        return Job(key, "job", (sys.executable, "-c", code), configuration, own or {}, secrets or {})

    return make


def launch(launcher, job):
    return launcher.launch(replace(job, request=json.loads(json.dumps(launcher.prepare(job)))))


def wait(launcher, handle, state="exited", seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = launcher.poll([handle]).get(handle)
        if status is not None and status.state == state:
            return status
        time.sleep(0.02)
    pytest.fail(f"{handle} was not {state} within {seconds} s: {status}")


def output(launcher, handle):
    lines, cursor, done = [], None, False
    while not done:
        page = launcher.logs(handle, cursor)
        lines, cursor, done = lines + [line.text for line in page.lines], page.cursor, page.done
    return lines


def shown(cluster, handle, resource="jobs"):
    return cluster.objects.get(resource, *handle.split("/"))


def pod_of(cluster, handle):
    (pod,) = cluster.objects.find("pods", selector=f"poolform-job={handle.split('/')[1]}")
    return pod


# What is asked for


def test_a_name_is_the_runs_own_and_leaves_room_for_a_pods():
    assert job_name("0198f6b2-7c1e-7a10-8c7e-000000000001.2") == "run-0198f6b2-7c1e-7a10-8c7e-000000000001-2"
    for odd in ("x" * 80 + ".1", "Schön.1", "a.b.1", "A-1.1", "a_b.1"):
        assert len(job_name(odd)) <= NAME_LIMIT
        assert job_name(odd).replace("-", "").isalnum()
    assert len({job_name(key) for key in ("a.1", "a-1", "a.11", "a.1.1", "a-1.1", "A.1")}) == 6


def test_everything_the_module_made_is_used(launcher, job, cluster, pool):
    handle = launch(launcher, job(memory_limit="256Mi", cpu_request="100m", annotations={"team": "data"}))
    made = shown(cluster, handle)
    pod = made["spec"]["template"]["spec"]
    assert handle.split("/")[0] == pool.settings["namespace"]
    assert pod["serviceAccountName"] == pool.settings["service_account"]
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "100m"}, "limits": {"memory": "256Mi"}}
    assert made["metadata"]["labels"]["poolform-pool-id"] == "ab12cd34"
    assert made["metadata"]["annotations"]["team"] == "data"
    assert (made["spec"]["backoffLimit"], pod["restartPolicy"]) == (0, "Never")


def test_a_template_that_prefect_exported_runs_as_it_is(launcher, job):
    handle = launch(launcher, job("print('hello from Prefect')", template=load_template(PREFECT), image="flows:1"))
    assert wait(launcher, handle).exit_code == 0
    assert output(launcher, handle) == ["hello from Prefect"]


def test_what_a_platform_team_adds_to_the_template_stays(launcher, job, cluster):
    template = base_job_template(Kubernetes)
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    pod["nodeSelector"] = {"disk": "fast"}
    pod["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    pod["containers"][0]["env"] = [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    pod["containers"].append({"name": "proxy", "image": "envoy"})
    made = shown(cluster, launch(launcher, job(template=template, own={"A": "1"})))["spec"]["template"]["spec"]
    assert made["nodeSelector"] == {"disk": "fast"}
    assert made["volumes"] == [{"name": "scratch", "emptyDir": {}}]
    assert [item["name"] for item in made["containers"][0]["env"]] == ["A", "NODE"]
    assert [item["name"] for item in made["containers"]] == ["flow", "proxy"]


def test_dollars_arrive_as_they_were_sent(launcher, job):
    """Kubernetes replaces $(NAME) in arguments and in values, and makes one dollar sign of two."""
    text = "$(HOME) $$(HOME) $HOME $$ $"
    wanted = job("import os, sys; print(sys.argv[1]); print(os.environ['GIVEN'])", own={"GIVEN": text, "HOME": "/x"})
    handle = launch(launcher, replace(wanted, command=(*wanted.command, text)))
    wait(launcher, handle)
    assert output(launcher, handle) == [text, text]


def test_labels_are_made_to_fit(launcher, job, cluster):
    labels = {"poolform-deployment": "greet/nightly build!", "-odd key-": "-x-", "acme.test/cost": "c" * 80, "ü": "y"}
    made = shown(cluster, launch(launcher, replace(job(), labels=labels)))["metadata"]["labels"]
    assert made["poolform-deployment"] == "greet-nightly-build"
    assert made["odd-key"] == "x"
    assert made["acme.test/cost"] == "c" * 63


def test_kubernetes_keeps_an_ended_job_for_a_day_at_least(launcher, job, cluster):
    assert shown(cluster, launch(launcher, job(finished_job_ttl=60)))["spec"]["ttlSecondsAfterFinished"] == SHORTEST_TTL
    assert launcher.remembers.total_seconds() < SHORTEST_TTL


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backoffLimit": 3}, "backoffLimit is 3, and a run is started exactly once"),
        ({"parallelism": 2}, "parallelism is 2"),
        ({"template": {"spec": {"restartPolicy": "OnFailure", "containers": [{}]}}}, "restartPolicy is OnFailure"),
        ({"template": {"spec": {"containers": []}}}, "no container to run the job in"),
        ({"tempalte": {}}, 'unknown field "spec.tempalte"'),
        ({"template": {"spec": {"containers": [{"name": "flow"}]}}}, r"containers\[0\].image: Required value"),
    ],
)
def test_a_manifest_that_would_not_run_once_is_refused(launcher, job, change, said, cluster):
    wanted = job()
    manifest = json.loads(json.dumps(wanted.configuration["job_manifest"]))
    manifest["spec"] |= change
    with pytest.raises(LaunchRefused, match=said):
        launch(launcher, replace(wanted, configuration={**wanted.configuration, "job_manifest": manifest}))
    assert cluster.objects.find("jobs") == []


def test_another_namespace_is_another_pool(launcher, job):
    with pytest.raises(
        LaunchRefused, match=r"in the namespace poolform-trial-ab12cd34 and in no other; prod was asked"
    ):
        launch(launcher, job(namespace="prod"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"own": {"BIG": "x" * 140_000}}, r"the variable BIG takes 140,004 bytes, and Linux passes at most 131,071"),
        ({"secrets": {"BIG": "x" * 140_000}}, r"the secret BIG takes 140,004 bytes, and Linux passes at most 131,071"),
        ({"code": "#" * 140_000}, r"an argument of the command takes 140,000 bytes"),
        (
            {"secrets": {f"S{n}": "x" * 120_000 for n in range(9)}},
            r"secrets take 1,080,000 bytes, .* at most 1,048,576",
        ),
    ],
    ids=["variable", "secret", "argument", "secrets"],
)
def test_what_is_too_large_is_refused_with_both_numbers(launcher, job, given, said, cluster):
    with pytest.raises(LaunchRefused, match=said):
        launch(launcher, job(**given))
    assert cluster.inventory() == []


# Deaths, in words


def test_out_of_memory_is_said_with_the_limit(launcher, job, cluster):
    cluster.node.memory_scale = 0.25
    handle = launch(launcher, job("x = []\nwhile True: x.append(bytearray(1 << 20))", memory_limit="512Mi"))
    status = wait(launcher, handle)
    assert status.exit_code == 137
    assert status.reason == "ran out of memory: its limit was 512Mi; give it more with the job variable memory_limit"


@pytest.mark.slow
def test_an_image_that_is_not_there_is_named_and_waited_for_a_while(launcher, job, cluster):
    cluster.node.missing_images.add("nowhere/nothing:1")
    handle = launch(launcher, job(image="nowhere/nothing:1", pod_watch_timeout_seconds=2))
    assert "nowhere/nothing:1" in (wait(launcher, handle, "starting").reason or wait_for_reason(launcher, handle))
    status = wait(launcher, handle)
    assert status.exit_code is None
    assert status.reason.startswith("the image nowhere/nothing:1 cannot be pulled: Back-off pulling image")
    assert status.reason.endswith("(given up after 2 s: pod_watch_timeout_seconds)")


def wait_for_reason(launcher, handle):
    deadline = time.monotonic() + 10
    while not (reason := launcher.poll([handle])[handle].reason):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return reason


def test_a_job_that_no_node_has_room_for_says_so(launcher, job):
    handle = launch(launcher, job(cpu_request="64", pod_watch_timeout_seconds=1))
    said = wait(launcher, handle).reason
    assert said.startswith("no node has room for it: 0/1 nodes are available: 1 Insufficient cpu.")


def test_a_job_that_ran_longer_than_it_may_says_so(launcher, job):
    handle = launch(launcher, job(SLEEP, job_watch_timeout_seconds=1))
    wait(launcher, handle, "running")
    status = wait(launcher, handle)
    assert status.exit_code in (None, 143, 137)
    if status.exit_code is None:
        assert status.reason == "it took longer than its 1 s (job_watch_timeout_seconds)"


def test_an_eviction_is_called_one(launcher, job, cluster):
    handle = launch(launcher, job(SLEEP))
    wait(launcher, handle, "running")
    pod = pod_of(cluster, handle)["metadata"]
    cluster.controller.pods[pod["namespace"], pod["name"]].evict("The node was low on resource: memory.")
    assert wait(launcher, handle).reason == "its node evicted it: The node was low on resource: memory."


def test_a_pod_that_somebody_deleted_is_missed_with_what_the_cluster_said(launcher, job, cluster):
    handle = launch(launcher, job(SLEEP))
    wait(launcher, handle, "running")
    pod = pod_of(cluster, handle)
    cluster.objects.tell(pod["metadata"]["namespace"], pod, "Preempted", "Preempted by default/urgent on node n1")
    cluster.objects.drop("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
    status = wait(launcher, handle)
    assert (status.exit_code, status.reason) == (None, "its pod is gone: Preempted by default/urgent on node n1")


def test_a_service_account_that_is_not_there_is_named(launcher, job):
    handle = launch(launcher, job(service_account_name="nobody", pod_watch_timeout_seconds=1))
    said = wait(launcher, handle).reason
    assert said.startswith("Kubernetes makes no pod for it: ")
    assert 'serviceaccount "nobody" not found' in said


# Quotas


@pytest.fixture
def quota(cluster, pool):
    """Lay a quota on the pool's namespace, as an administrator would."""
    from poolform.testing.standin import Cloud

    cloud = Cloud()

    def lay(**hard):
        metadata = {"name": "tight", "namespace": pool.settings["namespace"]}
        cloud.put("kubernetes_resource_quota_v1", "q", {"metadata": [metadata], "spec": [{"hard": hard}]})

    with cluster.made.attached(cloud):
        yield lay


def test_a_full_quota_of_jobs_is_to_be_tried_again_and_then_starts_one(launcher, job, cluster, quota):
    quota(**{"count/jobs.batch": "1"})
    first = launch(launcher, job())
    wanted = job("print('at last')", secrets={"TOKEN": "hush-4711"})
    with pytest.raises(NoCapacity, match="exceeded quota: tight"):
        launch(launcher, wanted)
    assert cluster.objects.find("secrets") == []
    assert launcher.find(wanted.key) is None
    wait(launcher, first)
    launcher.remove(first)
    assert cluster.inventory() == []
    handle = launch(launcher, wanted)
    assert launch(launcher, wanted) == handle, "it is this very job that fills the quota"
    assert wait(launcher, handle).exit_code == 0
    launcher.remove(handle)
    assert cluster.inventory() == []


@pytest.mark.slow
def test_a_full_quota_of_pods_lets_a_job_wait_and_is_named_in_the_end(launcher, job, quota):
    quota(pods="0")
    handle = launch(launcher, job(pod_watch_timeout_seconds=2))
    assert launcher.poll([handle])[handle].state == "starting"
    assert "exceeded quota: tight, requested: pods=1" in wait(launcher, handle).reason


# Ends


def test_a_job_that_waits_for_a_node_can_be_cancelled(launcher, job, cluster):
    handle = launch(launcher, job(cpu_request="64"))
    wait_for_reason(launcher, handle)
    launcher.cancel(handle)
    status = wait(launcher, handle)
    assert (status.exit_code, status.reason) == (None, "it was stopped on request")
    assert cluster.controller.started.count(handle.split("/")[1]) == 0


def test_a_job_that_whoever_queues_jobs_has_suspended_can_be_cancelled(launcher, job):
    wanted = job()
    manifest = json.loads(json.dumps(wanted.configuration["job_manifest"]))
    manifest["spec"]["suspend"] = True
    handle = launch(launcher, replace(wanted, configuration={**wanted.configuration, "job_manifest": manifest}))
    assert launcher.poll([handle])[handle].reason == "it is suspended"
    launcher.cancel(handle)
    assert wait(launcher, handle).reason == "it was stopped on request"


def test_a_job_that_was_removed_by_hand_is_gone(launcher, job, cluster):
    handle = launch(launcher, job(SLEEP))
    wait(launcher, handle, "running")
    cluster.answers._end("jobs", shown(cluster, handle))
    deadline = time.monotonic() + 10
    while launcher.poll([handle]):
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Trouble on the way


@pytest.mark.parametrize("kind", ["drop", "drop-after", "error", "error-after"])
@pytest.mark.parametrize("action", ["create secrets", "create jobs", "patch secrets"])
def test_a_launch_that_was_cut_off_starts_one_job(launcher, job, cluster, kind, action):
    wanted = job("import os; print(len(os.environ['TOKEN']))", secrets={"TOKEN": "hush-4711"})
    wanted = replace(wanted, request=launcher.prepare(wanted))
    cluster.faults.add(Fault(action, kind, error=BROKEN))
    with pytest.raises(Unavailable):
        launcher.launch(wanted)
    handle = launcher.launch(wanted)
    assert wait(launcher, handle).exit_code == 0
    assert output(launcher, handle) == ["9"]
    assert cluster.controller.started.count(handle.split("/")[1]) == 1
    launcher.remove(handle)
    assert cluster.inventory() == []


@pytest.mark.parametrize(
    ("action", "ask"),
    [
        ("list jobs", lambda launcher, handle: launcher.poll([handle])),
        ("list pods", lambda launcher, handle: launcher.poll([handle])),
        ("get jobs", lambda launcher, handle: launcher.find("some-key.1")),
        ("get pods/log", lambda launcher, handle: launcher.logs(handle, None)),
        ("patch jobs", lambda launcher, handle: launcher.cancel(handle)),
        ("delete jobs", lambda launcher, handle: launcher.remove(handle)),
    ],
)
@pytest.mark.parametrize("error", [BUSY, BROKEN, STRANGER, None], ids=["busy", "broken", "stranger", "hung up"])
def test_what_cannot_be_asked_now_can_be_asked_later(launcher, job, cluster, action, ask, error):
    handle = launch(launcher, job(SLEEP))
    wait(launcher, handle, "running")
    fault = cluster.faults.add(Fault(action, "error" if error else "drop", error=error, times=None))
    with pytest.raises(Unavailable, match=str(error) if error else "cannot be asked"):
        ask(launcher, handle)
    assert fault.hits
    cluster.faults.clear()
    ask(launcher, handle)


def test_a_namespace_that_is_gone_takes_no_job(launcher, job, pool):
    elsewhere = {**pool.settings, "namespace": "gone"}
    lost = KubernetesLauncher(Cluster.of_connection(pool.settings), elsewhere)
    wanted = job()
    configuration = {**wanted.configuration, "namespace": "gone"}
    with pytest.raises(LaunchRefused, match='namespaces "gone" not found'):
        launch(lost, replace(wanted, configuration=configuration))
    assert lost.poll(["gone/run-1"]) == {}
    lost.close()


def test_a_job_of_that_name_that_is_not_ours_is_left_alone(launcher, job, cluster, pool):
    wanted = job()
    foreign = launcher.prepare(wanted)["job"]
    foreign["metadata"]["annotations"] = {}
    Cluster.of_connection(pool.settings).post(f"/apis/batch/v1/namespaces/{pool.settings['namespace']}/jobs", foreign)
    with pytest.raises(LaunchRefused, match="that is not Poolform's"):
        launch(launcher, replace(wanted, secrets={"TOKEN": "hush"}))
    assert cluster.objects.find("secrets") == []
    assert launcher.find(wanted.key) is None


def test_many_jobs_are_asked_about_with_two_lists_of_several_pages(launcher, job, cluster):
    handles = [launch(launcher, job()) for _ in range(5)]
    for handle in handles:
        wait(launcher, handle)
    before = len(cluster.api.calls)
    assert set(launcher.poll([*handles, "poolform-trial-ab12cd34/run-nobody-1"])) == set(handles)
    assert [str(Permission(c.group, c.resource, c.verb)) for c in cluster.api.calls[before:]] == [
        "list jobs.batch", "list pods",
    ]  # fmt: skip
    cluster.answers.page = 2
    try:
        assert set(launcher.poll(handles)) == set(handles)
    finally:
        cluster.answers.page = 500


# Secrets


def test_secrets_are_nowhere_but_in_a_secret_and_the_job(launcher, job, cluster):
    wanted = job("import os; print(len(os.environ['TOKEN']))", secrets={"TOKEN": "hush-4711-hush"})
    prepared = launcher.prepare(wanted)
    assert "hush-4711-hush" not in json.dumps(prepared)
    handle = launcher.launch(replace(wanted, request=prepared))
    assert wait(launcher, handle).exit_code == 0
    assert all(b"hush" not in content for name, content in cluster.api.bodies if name != "create secrets")
    (owner,) = shown(cluster, handle, "secrets")["metadata"]["ownerReferences"]
    assert owner["uid"] == shown(cluster, handle)["metadata"]["uid"]
    cluster.objects.drop("jobs", *handle.split("/"))  # as Kubernetes does when its time to live is over
    assert cluster.inventory() == []


@pytest.mark.slow
def test_launching_uses_what_the_launchers_role_allows_and_all_of_it(launcher, job, pool, cluster, quota):
    """From a job's first call to the pool's end; a replay, a cancellation and a death without a pod in between."""
    before = len(cluster.api.calls)
    wanted = job("print('up')", secrets={"TOKEN": "hush-4711"})
    handle = launch(launcher, wanted)
    assert launch(launcher, wanted) == launcher.find(wanted.key) == handle
    wait(launcher, handle)
    assert output(launcher, handle) == ["up"]
    sleeper = launch(launcher, job(SLEEP))
    wait(launcher, sleeper, "running")
    launcher.cancel(sleeper)
    wait(launcher, sleeper)
    quota(pods="0")
    wait(launcher, launch(launcher, job(pod_watch_timeout_seconds=1)))
    launcher.remove(handle)
    Kubernetes().disconnect(pool, None)
    mine = f"system:serviceaccount:{pool.settings['namespace']}:{pool.settings['launcher']}"
    calls = cluster.api.calls[before:]
    assert {Permission(c.group, c.resource, c.verb) for c in calls if c.user == mine} == set(LAUNCHER)
