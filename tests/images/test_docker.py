"""Images built by a real engine, pushed to a real registry with a password, pulled again and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from clouds.docker import PASSWORD, USER, docker

from poolform import DockerImage, Variables
from poolform.core.blocks import Blocks, Document
from poolform.core.errors import ImageError
from poolform.core.plugins import load_plugins
from poolform.core.pools.records import new_record
from poolform.core.runs import images
from poolform.core.runs.bootstrap import bootstrap_command
from poolform.core.runs.docker import RegistryLogin
from poolform.core.settings import Settings
from poolform.core.store.database import open_store

pytestmark = pytest.mark.docker
TEMPLATE = {"job_configuration": {}, "variables": {"properties": {"image": {"type": "string"}}}}


def run(reference, entrypoint="flow.py:greet"):
    return docker("run", "--rm", "-e", f"POOLFORM_ENTRYPOINT={entrypoint}", reference, *bootstrap_command())


def kept_below(folder):
    return [path for path in Path(folder).rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]


@pytest.fixture
def blocks(tmp_path):
    settings = Settings.from_environment({"POOLFORM_HOME": str(tmp_path / "home")})
    with open_store(settings) as store:
        yield Blocks(store, settings, {})


@pytest.mark.slow
def test_built_pushed_pulled_and_run(code, base_image, registry, blocks, capfd):
    """The whole way, in the pool's own registry, with a login that is nowhere afterwards."""
    plugins = load_plugins(Settings.from_environment({}))
    pool = new_record("here", plugins.pool_type("process"), Variables())
    pool = replace(pool, base_job_template=TEMPLATE, image_namespace=f"{registry.host}/team")
    blocks.save(Document("registry-credentials", "mine", {"username": USER, "password": PASSWORD}))
    lines = []
    image = DockerImage("my-image", "1", base_image=base_image, credentials="mine", labels={"a": "b"})
    order = images.order(image, pool, plugins)
    order.carry_out(blocks, on_line=lines.append)
    assert any("FROM" in line for line in lines), "no progress was shown"
    assert registry.tags("team/my-image") == ["1"]
    docker("image", "rm", order.reference)
    login = RegistryLogin(registry.host, USER, PASSWORD)
    with images.Docker.find().logged_in(login) as engine:
        engine._run(["pull", order.reference], lines.append, doing="Pulling")
    assert "Hello, you" in run(order.reference)
    listed = docker("run", "--rm", order.reference, "ls", "-a").split()
    assert {".env", ".git", "__pycache__"} & set(listed) == set()
    assert json.loads(docker("image", "inspect", order.reference))[0]["Config"]["WorkingDir"] == "/opt/my-flows"
    assert PASSWORD not in "".join(lines) + "".join(capfd.readouterr())
    assert kept_below(os.environ["DOCKER_CONFIG"]) == []
    docker("image", "rm", order.reference)


def test_the_password_is_not_on_a_command_line(code, base_image, registry, tmp_path, monkeypatch):
    seen, real = tmp_path / "seen", shutil.which("docker")
    (tmp_path / "bin").mkdir()
    spy = tmp_path / "bin" / "docker"
    spy.write_text(f'#!/bin/sh\necho "$@" >> {seen}\nexec {real} "$@"\n')
    spy.chmod(0o755)
    monkeypatch.setenv("POOLFORM_DOCKER", str(spy))
    image = DockerImage(f"{registry.host}/spied:1", base_image=base_image, buildargs={"TOKEN": PASSWORD})
    image.build()
    image.push(login=RegistryLogin(registry.host, USER, PASSWORD))
    docker("image", "rm", image.reference)
    assert "--password-stdin" in seen.read_text()
    assert PASSWORD not in seen.read_text()


@pytest.mark.parametrize(
    ("login", "sentence"),
    [
        (None, "Pushing the image .* failed: not allowed"),
        ((USER, "wrong"), "Logging in to .* as pusher failed: the name or the password was not accepted"),
    ],
)
def test_a_registry_that_says_no(code, base_image, registry, login, sentence):
    image = DockerImage(f"{registry.host}/refused:1", base_image=base_image)
    image.build()
    with pytest.raises(ImageError, match=sentence) as caught:
        image.push(login=login and RegistryLogin(registry.host, *login))
    assert "registry-credentials/NAME" in caught.value.hint
    assert "wrong" not in caught.value.message
    docker("image", "rm", image.reference)


def test_a_registry_that_is_not_there(code, base_image):
    image = DockerImage("127.0.0.1:1/nowhere:1", base_image=base_image)
    image.build()
    with pytest.raises(ImageError, match="the registry cannot be reached"):
        image.push()
    docker("image", "rm", image.reference)


def test_a_dockerfile_of_ones_own_and_a_dockerignore(code, base_image):
    (code / "docker").mkdir()
    (code / "docker" / "Mine").write_text(
        f"FROM {base_image}\nARG WORD=unset\nWORKDIR /mine\nCOPY flow.py beside.py ./\nRUN echo $WORD > word.txt\n"
    )
    image = DockerImage("poolform-tests-own", "1", "docker/Mine", buildargs={"WORD": "given"})
    image.build()
    assert "Hello, you" in run(image.reference)
    assert docker("run", "--rm", image.reference, "cat", "/mine/word.txt").strip() == "given"
    (code / ".dockerignore").write_text("beside.py\n")
    image = DockerImage("poolform-tests-own", "2", base_image=base_image)
    image.build()
    listed = docker("run", "--rm", image.reference, "ls", "-a").split()
    assert ("beside.py" in listed, ".env" in listed) == (False, True), "a .dockerignore has the last word"
    docker("image", "rm", "poolform-tests-own:1", "poolform-tests-own:2")


def test_a_build_that_fails_says_with_what(code, base_image):
    (code / "Dockerfile").write_text(f"FROM {base_image}\nRUN echo one && false\n")
    lines = []
    with pytest.raises(ImageError, match="Building the image poolform-tests-broken:1 failed") as caught:
        DockerImage("poolform-tests-broken:1", dockerfile="Dockerfile").build(lines.append)
    assert "echo one && false" in caught.value.message + caught.value.hint
    assert "one" in "\n".join(lines)


def test_an_image_that_knows_nothing_of_the_flow_gets_it_with_the_run(code, base_image):
    """What `--source inline` does on a platform that runs containers; and git, in an image without it."""
    from poolform.core.runs.inline import pack

    source = json.dumps(pack(code, ["flow.py", "beside.py"]))
    env = ("-e", "POOLFORM_ENTRYPOINT=flow.py:greet")
    said = docker("run", "--rm", *env, "-e", f"POOLFORM_SOURCE={source}", base_image, *bootstrap_command("inline"))
    assert "Hello, you" in said
    source = json.dumps({"type": "git", "url": "https://git.example.org/r"})
    command = ("docker", "run", "--rm", *env, "-e", f"POOLFORM_SOURCE={source}", base_image, *bootstrap_command("git"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "install git in the image" in done.stdout) == (70, True), done.stdout + done.stderr
