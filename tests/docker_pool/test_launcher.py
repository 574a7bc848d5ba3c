"""What the Docker launcher does beyond the contract, on a real engine."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from clouds.docker import PASSWORD, USER, docker
from clouds.engine import in_front
from clouds.faults import Fault

from poolform.core.runs.launchers import Job, LaunchRefused, NoCapacity, Unavailable
from poolform.provisioners.docker import container
from poolform.provisioners.docker.engine import Engine, found_host
from poolform.provisioners.docker.launcher import DockerLauncher

POOL = f"launcher{os.getpid()}"  # the engine is shared with other processes that test


def job(code="pass", *, key=None, command=None, secrets=(), env=(), labels=(), **configuration):
    key = key or f"{time.time_ns()}.1"
    command = command or ("python3", "-c", code)
    return Job(key, "trial", tuple(command), configuration, dict(env), dict(secrets), dict(labels))


# -- what is asked of the engine, which needs none -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("lab", "IfPossible"),
        ("lab:latest", "IfPossible"),
        ("localhost:5000/lab", "IfPossible"),
        ("lab:1", "IfNotPresent"),
        ("localhost:5000/lab:1", "IfNotPresent"),
        ("lab@sha256:0123", "IfNotPresent"),
    ],
)
def test_a_tag_that_moves_is_looked_for(image, policy):
    assert container.policy_of({"image": image}) == policy
    assert container.policy_of({"image": image, "image_pull_policy": "Never"}) == "Never"


def test_limits_become_the_engine_s():
    limits = job(image="x:1", cpus=0.5, mem_limit="64m", memswap_limit="-1", privileged=True)
    options = container.request_for(limits, POOL).options
    assert options["nano_cpus"] == 500_000_000
    assert (options["mem_limit"], options["memswap_limit"], options["privileged"]) == ("64m", -1, True)


def test_volumes_of_both_kinds_are_mounted():
    more = {"volumes": {"/a": {"bind": "/b", "mode": "ro"}}, "shm_size": "1g"}
    options = container.request_for(job(image="x:1", volumes=["v:/v"], container_create_kwargs=more), POOL).options
    assert options["volumes"] == ["v:/v", "/a:/b:ro"]
    assert options["shm_size"] == "1g"


def test_a_network_mode_wins_over_networks():
    request = container.request_for(job(image="x:1", networks=["a", "b"]), POOL)
    assert (request.options["network"], request.more_networks) == ("a", ["b"])
    request = container.request_for(job(image="x:1", networks=["a", "b"], network_mode="host"), POOL)
    assert (request.options["network_mode"], request.more_networks) == ("host", [])
    assert "network" not in request.options


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"key": "a/b"}, "cannot name a container"),
        ({"container_create_kwargs": {"tty": True, "name": "x"}}, "must not set name, tty"),
        ({"env": {"A=B": "c"}}, "cannot name an environment variable"),
        ({"env": {"A": "x" * 131_072}}, "takes 131,075 bytes; a process takes 131,072"),
        ({"command": ("echo", "\0")}, "holds a NUL character"),
    ],
)
def test_what_no_container_can_be_given_is_refused(wrong, said):
    with pytest.raises(LaunchRefused, match=said):
        container.request_for(job(**{"image": "x:1", **wrong}), POOL)


def test_secrets_are_environment_and_no_word_of_a_command():
    options = container.request_for(job(image="x:1", secrets={"TOKEN": "hush"}), POOL).options
    assert options["environment"]["TOKEN"] == "hush"
    assert "hush" not in repr({name: value for name, value in options.items() if name != "environment"})


# -- with the engine ---------------------------------------------------------------------------------------------------


@pytest.fixture
def launcher(engine, base_image):
    launcher = DockerLauncher(Engine(found_host()), POOL, grace=1.0, stale=1.0)
    yield launcher
    launcher.remove_all()
    launcher.close()


@pytest.fixture
def run(launcher, base_image):
    """Runs a job to its end; returns its status and its output."""

    def run(code="pass", **how):
        handle = launcher.launch(job(code, **{"image": base_image, **how}))
        while (status := launcher.poll([handle])[handle]).state != "exited":
            time.sleep(0.05)
        page = launcher.logs(handle, None)
        assert page.done
        return status, [line.text for line in page.lines]

    return run


def shown(client, name):
    return client.api.inspect_container(name)


@pytest.mark.docker
class TestEnds:
    def test_out_of_memory_is_said_with_the_limit(self, run):
        status, _ = run("x = bytearray(200_000_000)", mem_limit="64m", memswap_limit="64m")
        assert status.exit_code == 137
        assert status.reason.startswith(
            "ran out of memory: it had 64 MiB; give it more with the job variable mem_limit"
        )

    def test_a_program_that_is_not_there_is_named(self, run, base_image):
        status, _ = run(command=("/no/such", "word"))
        assert status.exit_code == 127
        assert status.reason == f"a program was not found: is there a /no/such in the image {base_image}?"

    def test_a_program_that_is_none_is_named(self, run):
        status, _ = run(command=("/etc/passwd",))
        assert status.exit_code == 126
        assert status.reason.startswith("a program cannot be executed: is /etc/passwd one for this machine")

    def test_without_an_init_it_is_refused_and_nothing_stays(self, launcher, base_image, client):
        wrong = job(command=("/no/such",), image=base_image, container_create_kwargs={"init": False})
        with pytest.raises(LaunchRefused, match=f"There is no program /no/such in the image {base_image}"):
            launcher.launch(wrong)
        assert launcher.find(wrong.key) is None

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"networks": ["no-such-network"]}, "network no-such-network not found"),
            ({"networks": ["bridge", "no-such-network"]}, "network no-such-network not found"),
            ({"volumes": ["/a:relative"]}, "starting a container|making a container"),
            ({"container_create_kwargs": {"colour": "red"}}, "colour"),
            ({"mem_limit": "1m"}, "[Mm]inimum memory limit"),
        ],
    )
    def test_what_the_engine_will_not_do_is_refused_in_its_words(self, launcher, base_image, wrong, said):
        asked = job(image=base_image, **wrong)
        with pytest.raises(LaunchRefused, match=said):
            launcher.launch(asked)
        assert launcher.find(asked.key) is None


@pytest.mark.docker
class TestSettings:
    def test_a_container_bears_the_pool_s_id_and_the_job_s_labels(self, launcher, base_image, client):
        handle = launcher.launch(job(image=base_image, labels={"team": "data"}))
        labels = shown(client, handle)["Config"]["Labels"]
        assert labels["poolform-pool-id"] == POOL
        assert (labels["team"], labels["poolform-job"]) == ("data", "trial")

    def test_null_takes_a_variable_of_the_image_s_away(self, run, base_image, client):
        code = "import os; print(os.environ.get('PATH'), os.environ.get('GIVEN'))"
        _, lines = run(code, command=("/usr/bin/python3", "-c", code), env={"GIVEN": "x"})
        assert lines[0].endswith(" x")
        configured = replace(job(image=base_image), configuration={"image": base_image, "env": {"PATH": None}})
        assert container.request_for(configured, POOL).options["environment"] == {"PATH": None}

    def test_output_that_nobody_wants_is_left_out(self, run):
        code = "print('noise'); print('poolform: {\"event\":\"started\"}')"
        assert run(code, stream_output=False)[1] == ['poolform: {"event":"started"}']

    def test_a_container_may_be_kept_until_the_pool_goes(self, launcher, base_image, client):
        handle = launcher.launch(job(image=base_image, auto_remove=False))
        while launcher.poll([handle])[handle].state != "exited":
            time.sleep(0.05)
        launcher.remove(handle)
        assert shown(client, handle)["State"]["Status"] == "exited"
        launcher.remove_all()
        assert launcher.poll([handle]) == {}

    def test_a_log_that_cannot_be_read_costs_the_output_and_not_the_job(self, run):
        status, lines = run("print('unseen')", container_create_kwargs={"log_config": {"Type": "none"}})
        assert (status.exit_code, lines) == (0, [])

    def test_another_network_and_limits_arrive(self, launcher, base_image, client):
        handle = launcher.launch(job(image=base_image, network_mode="none", cpus=0.5, mem_limit="64m"))
        found = shown(client, handle)["HostConfig"]
        assert (found["NetworkMode"], found["NanoCpus"], found["Memory"]) == ("none", 500_000_000, 64 * 2**20)


@pytest.mark.docker
class TestImages:
    def test_never_is_never(self, launcher):
        with pytest.raises(LaunchRefused, match="lab/nowhere:1 is not on the engine, and image_pull_policy is Never"):
            launcher.launch(job(image="lab/nowhere:1", image_pull_policy="Never"))

    def test_an_image_that_cannot_be_had_is_said(self, launcher, registry):
        with pytest.raises(LaunchRefused, match=rf"The image {registry.host}/nowhere:1 cannot be pulled: .+"):
            launcher.launch(job(image=f"{registry.host}/nowhere:1"))

    @pytest.fixture
    def pushed(self, base_image, registry, monkeypatch, tmp_path):
        """An image in a registry that wants the login that docker-py finds, and not on the engine."""
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        (tmp_path / "config.json").write_text("{}")
        name = f"{registry.host}/lab/python:1"
        docker("login", "--username", USER, "--password-stdin", registry.host, input=PASSWORD)
        docker("tag", base_image, name)
        docker("push", name)
        docker("rmi", name)
        return name

    def test_one_that_is_not_there_is_pulled_with_the_dispatcher_s_login(self, launcher, run, pushed):
        assert run("print('pulled')", image=pushed)[1] == ["pulled"]
        docker("rmi", "-f", pushed)

    def test_a_policy_of_always_needs_the_registry_and_if_possible_does_not(self, launcher, run, base_image):
        with pytest.raises(LaunchRefused, match="cannot be pulled"):
            launcher.launch(job(image=base_image, image_pull_policy="Always"))
        assert run("print('here')", image_pull_policy="IfPossible")[1] == ["here"]

    def test_a_long_pull_keeps_nobody_waiting(self, base_image, pushed):
        """The run is put back, and launched once the image is there."""
        with in_front() as front:
            front.faults.add(Fault("POST images/create", "lag", seconds=2.0))
            launcher = DockerLauncher(Engine(front.host), POOL)
            launcher._images._patience = 0.2
            asked = job("print('patience')", image=pushed)
            with pytest.raises(NoCapacity, match=f"the image {pushed} is still being pulled"):
                launcher.launch(asked)
            launcher._images._patience = 20.0
            handle = launcher.launch(asked)
            assert sum(call.name == "POST images/create" for call in front.calls) == 1
            launcher.cancel(handle)
            launcher.remove_all()
            launcher.close()
        docker("rmi", "-f", pushed)


@pytest.mark.docker
class TestCutOff:
    """Containers that were made and not started: somebody died between the two calls, or is about to start it."""

    @pytest.fixture
    def half(self, launcher, base_image, client):
        """Make a job's container and do not start it."""

        def make(asked):
            return client.containers.create(
                base_image,
                list(asked.command),
                name=container.name_of(asked.key),
                labels={"poolform-pool-id": POOL},
            )

        return make

    def test_a_young_one_is_nobody_s_to_judge(self, launcher, base_image, half):
        asked = job(image=base_image)
        half(asked)
        with pytest.raises(Unavailable, match="made a moment ago, and is not started yet"):
            launcher.find(asked.key)

    def test_a_stale_one_was_not_launched(self, launcher, base_image, half, client):
        asked = job("print('launched')", image=base_image)
        stale = half(asked)
        time.sleep(1.2)
        assert launcher.find(asked.key) is None
        handle = launcher.launch(asked)
        assert shown(client, handle)["Id"] != stale.id

    def test_a_launch_takes_the_place_of_a_stale_one(self, launcher, base_image, half, client):
        asked = job(image=base_image)
        stale = half(asked)
        handle = launcher.launch(asked)
        assert shown(client, handle)["Id"] != stale.id

    def test_a_launch_waits_for_whoever_is_about_to_start_it(self, launcher, base_image, half, client):
        asked = job(image=base_image)
        young = half(asked)
        threading.Timer(0.4, young.start).start()
        handle = launcher.launch(asked)
        assert shown(client, handle)["Id"] == young.id


@pytest.mark.docker
def test_an_engine_that_is_another_one_is_not_launched_on(engine, base_image):
    launcher = DockerLauncher(Engine(found_host(), "AAAA:BBBB"), POOL)
    with pytest.raises(Unavailable, match="the pool's is AAAA:BBBB"):
        launcher.launch(job(image=base_image))
    launcher.close()


@pytest.mark.docker
def test_an_engine_that_goes_away_is_unavailable(engine, base_image):
    with in_front() as front:
        launcher = DockerLauncher(Engine(front.host), POOL)
        assert launcher.find("nobody.1") is None
        front.faults.add(Fault("*", "drop", times=None))
        for ask in (lambda: launcher.find("nobody.1"), lambda: launcher.poll(["x"]), lambda: launcher.cancel("x")):
            with pytest.raises(Unavailable):
                ask()
        launcher.close()


@pytest.mark.docker
def test_a_secret_is_on_no_command_line(launcher, base_image):
    """Not on the engine's machine, where anybody may read the arguments of every process."""
    handle = launcher.launch(
        job("print('on', flush=True); import time; time.sleep(60)", image=base_image, secrets={"TOKEN": "hush-4711"})
    )
    while not launcher.logs(handle, None).lines:
        time.sleep(0.05)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert any(b"time.sleep(60)" in line for line in lines)
    assert not any(b"hush-4711" in line for line in lines)
