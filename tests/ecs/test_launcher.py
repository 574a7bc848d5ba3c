"""What ECS does to jobs and what the launcher makes of it: limits, capacity, deaths, forgetting, trouble on the way."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import pytest
from clouds.aws.faults import BROKEN, REFUSED, THROTTLED, Fault

from poolform.core.runs.jobs import base_job_template, resolve, with_defaults
from poolform.core.runs.launchers import Job, LaunchRefused, NoCapacity, Unavailable
from poolform.provisioners.ecs.definition import client_token, started_by
from poolform.provisioners.ecs.launcher import EcsLauncher
from poolform.provisioners.ecs.pool_type import EcsPush
from poolform.provisioners.ecs.session import Clients

from .conftest import become

pytestmark = [pytest.mark.aws_provider, pytest.mark.slow]

SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def launcher(pool, administrator):
    made = new_launcher(pool, administrator)
    administrator.tasks.stop_timeout = 1.0
    yield made
    administrator.faults.clear()
    administrator.tasks.capacity, administrator.tasks.lag = True, 0.0
    administrator.tasks.missing_images.clear()
    made.close()


def new_launcher(pool, aws):
    return EcsLauncher(Clients.of_launcher(pool.settings, None), pool.settings, clock=aws.clock.now, settle=0.2)


@pytest.fixture
def job(pool, request):
    counter = iter(range(1000))

    def make(code="pass", *, own=None, secrets=None, key=None, **job_variables):
        template = with_defaults(base_job_template(EcsPush), pool.job_defaults)
        configuration = resolve(template, job_variables)
        key = key or f"{request.node.name[:24]}-{time.time_ns()}-{next(counter)}.1"
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


def requests(aws, name):
    return [request for request in aws.proxy.requests if request.name == name]


# Definitions


def test_runs_of_one_deployment_share_a_definition(launcher, job, administrator):
    before = len(requests(administrator, "ecs:RegisterTaskDefinition"))
    for number in range(3):
        handle = launch(launcher, job(own={"POOLFORM_RUN_ID": str(number)}, memory=1024))
    another = EcsLauncher(launcher._clients, launcher._settings)
    launch(another, job(own={"POOLFORM_RUN_ID": "4"}, memory=1024))
    assert len(requests(administrator, "ecs:RegisterTaskDefinition")) == before + 1
    wait(launcher, handle)


def test_stable_environment_is_in_the_definition_and_the_runs_own_in_its_overrides(launcher, job):
    prepared = launcher.prepare(job(own={"POOLFORM_RUN_ID": "r", "TEAM": "data"}, env={"TEAM": "data"}))
    run = prepared["run_task"]
    assert run["overrides"]["containerOverrides"][0]["environment"] == [{"name": "POOLFORM_RUN_ID", "value": "r"}]
    definition = launcher._clients["ecs"].describe_task_definition(taskDefinition=run["taskDefinition"])
    assert definition["taskDefinition"]["containerDefinitions"][0]["environment"] == [{"name": "TEAM", "value": "data"}]


def test_every_output_of_the_module_reaches_the_job(launcher, job, pool):
    run = launcher.prepare(job())["run_task"]
    network = run["networkConfiguration"]["awsvpcConfiguration"]
    assert network == {
        "subnets": pool.settings["subnet_ids"],
        "securityGroups": pool.settings["security_group_ids"],
        "assignPublicIp": "ENABLED",
    }
    assert run["cluster"] == pool.settings["cluster_arn"]
    definition = launcher._clients["ecs"].describe_task_definition(taskDefinition=run["taskDefinition"])[
        "taskDefinition"
    ]
    assert definition["executionRoleArn"] == pool.settings["execution_role_arn"]
    assert definition["taskRoleArn"] == pool.settings["task_role_arn"]
    options = definition["containerDefinitions"][0]["logConfiguration"]["options"]
    assert options["awslogs-group"] == pool.settings["log_group"]
    assert options["awslogs-region"] == pool.settings["region"]


def test_what_a_platform_team_adds_to_the_template_stays(launcher, job):
    plain = job()
    configuration = json.loads(json.dumps(plain.configuration))
    configuration["task_definition"]["containerDefinitions"].append(
        {"name": "proxy", "image": "envoy", "essential": False}
    )
    configuration["task_run_request"]["platformVersion"] = "1.4.0"
    run = launcher.prepare(replace(plain, configuration=configuration))["run_task"]
    definition = launcher._clients["ecs"].describe_task_definition(taskDefinition=run["taskDefinition"])[
        "taskDefinition"
    ]
    assert [container["name"] for container in definition["containerDefinitions"]] == ["flow", "proxy"]
    assert run["platformVersion"] == "1.4.0"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"launchType": "FARGATE"}),
        (
            {"launch_type": "FARGATE_SPOT"},
            {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]},
        ),
        (
            {"capacity_provider_strategy": [{"capacityProvider": "FARGATE", "weight": 1, "base": 1}]},
            {"capacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1, "base": 1}]},
        ),
    ],
)
def test_capacity_is_asked_for_one_way_only(launcher, job, given, expected):
    run = launcher.prepare(job(**given))["run_task"]
    assert {key: run[key] for key in ("launchType", "capacityProviderStrategy") if key in run} == expected


# Limits


def test_a_key_fits_into_a_client_token_and_a_mark_whatever_it_is():
    assert client_token("0198f6b2-7c1e-7a10-8c7e-000000000001.1") == "0198f6b2-7c1e-7a10-8c7e-000000000001.1"
    assert started_by("0198f6b2-7c1e-7a10-8c7e-000000000001.1") == "0198f6b2-7c1e-7a10-8c7e-000000000001/1"
    for odd in ("x" * 65, "schön.1", "a b.1"):
        assert len(client_token(odd)) == 64
        assert started_by(odd).isascii()
    assert client_token("x" * 65) != client_token("x" * 66)


def test_parameters_over_the_limit_are_refused_with_both_numbers(launcher, job):
    fits = job(own={"POOLFORM_PARAMETERS": "x" * 8000})
    assert launch(launcher, fits)
    with pytest.raises(LaunchRefused, match=r"9,\d{3} characters, and ECS takes at most 8,192"):
        launch(launcher, job(own={"POOLFORM_PARAMETERS": "x" * 9000}))


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"cpu": 300}, r"no tasks with 300 CPU units; it has 256, 512"),
        ({"cpu": 256, "memory": 4096}, r"256 CPU units and 4096 MiB of memory; with 256, 512, 1024, 2048"),
    ],
)
def test_sizes_that_fargate_does_not_have_are_refused(launcher, job, size, said):
    with pytest.raises(LaunchRefused, match=said):
        launcher.prepare(job(**size))


def test_many_tasks_are_asked_about_a_hundred_at_a_time(launcher, job, administrator):
    handles = [launch(launcher, job("pass")) for _ in range(3)]
    made_up = [handles[0].replace(handles[0].split("#")[0][-6:], f"{number:06d}", 1) for number in range(200)]
    before = len(requests(administrator, "ecs:DescribeTasks"))
    statuses = launcher.poll([*handles, *made_up])
    assert set(handles) <= set(statuses)
    asked = requests(administrator, "ecs:DescribeTasks")[before:]
    assert [len(request.params["tasks"]) for request in asked] == [100, 100, 3]


# Deaths, in words


def test_out_of_memory_is_said_with_the_amount(launcher, job, administrator):
    administrator.tasks.memory_scale = 0.25
    try:
        eater = "x = []\nwhile True: x.append(bytearray(1 << 20))"
        status = wait(launcher, launch(launcher, job(eater)))
    finally:
        administrator.tasks.memory_scale = 1.0
    assert status.exit_code == 137
    assert status.reason == "ran out of memory: it had 512 MiB; give it more with the job variable memory"


def test_an_image_that_is_not_there_is_named(launcher, job, administrator):
    administrator.tasks.missing_images.add("nowhere/nothing:1")
    status = wait(launcher, launch(launcher, job(image="nowhere/nothing:1")))
    assert status.exit_code is None
    assert status.reason.startswith("the image cannot be pulled: ")
    assert "nowhere/nothing:1: not found" in status.reason


def test_a_spot_interruption_is_called_one(launcher, job, administrator):
    handle = launch(launcher, job(SLEEP, launch_type="FARGATE_SPOT"))
    wait(launcher, handle, "running")
    administrator.tasks.interrupt(handle.split("#")[0])
    assert wait(launcher, handle).reason.startswith("AWS took the Spot capacity back")


def test_no_capacity_is_to_be_tried_again_and_then_starts_one_task(launcher, job, administrator):
    administrator.tasks.capacity = False
    wanted = job()
    wanted = replace(wanted, request=launcher.prepare(wanted))
    with pytest.raises(NoCapacity, match="Capacity is unavailable"):
        launcher.launch(wanted)
    administrator.tasks.capacity = True
    handle = launcher.launch(wanted)
    assert launcher.launch(wanted) == handle
    assert len(administrator.tasks.started_by(started_by(wanted.key))) == 1


def test_a_role_that_may_not_write_logs_is_named(launcher, job, administrator, pool):
    iam = administrator.client("iam")
    name = pool.settings["execution_role_arn"].rsplit("/", 1)[-1]
    saved = iam.get_role_policy(RoleName=name, PolicyName="start-jobs")["PolicyDocument"]
    iam.delete_role_policy(RoleName=name, PolicyName="start-jobs")
    try:
        status = wait(launcher, launch(launcher, job()))
    finally:
        iam.put_role_policy(RoleName=name, PolicyName="start-jobs", PolicyDocument=json.dumps(saved))
    assert status.exit_code is None
    assert status.reason.startswith("ECS could not prepare the task: ")
    assert "logs:CreateLogStream" in status.reason


# What ECS forgets, and what it does not know yet


def test_a_task_that_nobody_sees_yet_is_starting_not_gone(launcher, job, administrator):
    administrator.tasks.lag = 1.0
    handle = launch(launcher, job(SLEEP))
    assert launcher.poll([handle])[handle].state == "starting"
    administrator.tasks.lag = 0.0
    wait(launcher, handle, "running")
    launcher.cancel(handle)
    wait(launcher, handle)


def test_after_an_hour_a_task_is_gone_and_its_output_is_not(launcher, job, administrator):
    wanted = job("print('kept')")
    handle = launch(launcher, wanted)
    wait(launcher, handle)
    administrator.clock.advance(3700)
    assert launcher.poll([handle]) == {}
    assert launcher.find(wanted.key) is None
    assert launcher.remembers.total_seconds() < 3600
    page = launcher.logs(handle, None)
    assert [line.text for line in page.lines] == ["kept"]
    launcher.cancel(handle)  # gone is fine


def test_a_stopped_task_is_found_among_many(launcher, job):
    wanted = job()
    handle = launch(launcher, wanted)
    for other in range(5):
        wait(launcher, launch(launcher, job(own={"N": str(other)})))
    wait(launcher, handle)
    assert launcher.find(wanted.key) == handle
    assert launcher.find("nobody-launched-this.1") is None


def test_a_spent_token_leads_to_the_task_it_was_spent_on(launcher, job, administrator):
    """The stored request was lost, and the new one differs: still one task."""
    wanted = job(SLEEP)
    handle = launch(launcher, wanted)
    changed = replace(wanted, env={**wanted.env, "MORE": "1"})
    assert launch(launcher, changed) == handle
    assert len(administrator.tasks.started_by(started_by(wanted.key))) == 1
    launcher.cancel(handle)
    wait(launcher, handle)


# Trouble on the way


@pytest.mark.parametrize("kind", ["drop", "drop-after", "error-after", "error"])
def test_a_launch_that_was_cut_off_starts_one_task(launcher, job, administrator, kind):
    """boto3 asks again by itself; where it gives up, core replays the stored request."""
    wanted = job(SLEEP)
    wanted = replace(wanted, request=launcher.prepare(wanted))
    administrator.faults.add(Fault("ecs:RunTask", kind, error=BROKEN, times=5))
    with pytest.raises(Unavailable):
        launcher.launch(wanted)
    administrator.faults.clear()
    handle = launcher.launch(wanted)
    assert administrator.tasks.started_by(started_by(wanted.key)) == [handle.split("#")[0]]
    launcher.cancel(handle)
    wait(launcher, handle)


@pytest.mark.parametrize(
    ("action", "ask"),
    [
        ("ecs:DescribeTasks", lambda launcher, handle: launcher.poll([handle])),
        ("ecs:ListTasks", lambda launcher, handle: launcher.find("some-key.1")),
        ("logs:GetLogEvents", lambda launcher, handle: launcher.logs(handle, None)),
        ("ecs:StopTask", lambda launcher, handle: launcher.cancel(handle)),
    ],
)
@pytest.mark.parametrize("error", [THROTTLED, BROKEN], ids=["throttled", "broken"])
def test_what_cannot_be_asked_now_can_be_asked_later(launcher, job, administrator, action, ask, error):
    handle = launch(launcher, job(SLEEP))
    administrator.faults.add(Fault(action, "error", error=error, times=None))
    with pytest.raises(Unavailable, match=r"Rate exceeded|asked to break"):
        ask(launcher, handle)
    administrator.faults.clear()
    ask(launcher, handle)
    launcher.cancel(handle)
    wait(launcher, handle)


def test_whoever_launches_without_credentials_is_told_what_to_do_and_the_run_waits(pool, job, aws, monkeypatch):
    nobody = {name: value for name, value in aws.environment.items() if "ACCESS_KEY" not in name}
    become(monkeypatch, nobody)
    with pytest.raises(Unavailable, match=r"no AWS credentials here \(log in to AWS, or set AWS_PROFILE"):
        launch(new_launcher(pool, aws), job())


def test_what_aws_will_never_do_is_refused(launcher, job, administrator):
    administrator.faults.add(Fault("ecs:RunTask", "error", error=REFUSED))
    with pytest.raises(LaunchRefused, match="asked to refuse this"):
        launch(launcher, job())


def test_a_cluster_that_is_gone_has_no_tasks(launcher, job, pool, administrator):
    handle = launch(launcher, job())
    wait(launcher, handle)
    elsewhere = handle.replace(f"task/{pool.settings['prefix']}", "task/nowhere")
    administrator.faults.clear()
    lost = EcsLauncher(Clients("eu-west-1"), {**pool.settings}, clock=administrator.clock.now)
    assert lost.poll([elsewhere]) == {}
    lost.close()


# Secrets


def test_secrets_are_nowhere_but_in_the_parameter_store_and_the_job(launcher, job, administrator, pool):
    wanted = job("import os; print(len(os.environ['TOKEN']))", secrets={"TOKEN": "hush-4711-hush"})
    prepared = launcher.prepare(wanted)
    assert "hush-4711-hush" not in json.dumps(prepared)
    handle = launcher.launch(replace(wanted, request=prepared))
    assert wait(launcher, handle).exit_code == 0
    for request in administrator.proxy.requests:
        if request.name != "ssm:PutParameter":
            assert b"hush-4711-hush" not in request.body, request.name
    kept = [name for name in administrator.inventory()["parameters"] if pool.settings["prefix"] in name]
    assert len(kept) == 1
    launcher.remove(handle)
    left = administrator.inventory()
    assert left["parameters"] == []
    assert not [arn for arn in left["task definitions"] if "-once-" in arn]


def test_secrets_of_other_people_are_used_by_reference(launcher, job, administrator, pool):
    ssm = administrator.client("ssm")
    name = f"/{pool.settings['prefix']}/shared/PASSWORD"  # where the pool may read
    ssm.put_parameter(Name=name, Value="from-the-store", Type="SecureString")
    arn = f"arn:aws:ssm:eu-west-1:123456789012:parameter{name}"
    handle = launch(launcher, job("import os; print(os.environ['PASSWORD'])", secret_arns={"PASSWORD": arn}))
    assert wait(launcher, handle).exit_code == 0
    assert [line.text for line in launcher.logs(handle, None).lines] == ["from-the-store"]
    ssm.delete_parameter(Name=name)


def test_a_secret_that_the_pool_may_not_read_is_named(launcher, job, administrator):
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:foreign-AbCdEf"
    status = wait(launcher, launch(launcher, job(secret_arns={"PASSWORD": arn})))
    assert status.exit_code is None
    assert "secretsmanager:GetSecretValue" in status.reason
    assert arn in status.reason
