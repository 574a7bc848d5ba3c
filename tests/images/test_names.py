"""What images are called, for people and for pools, and what is generated for them; nothing here needs an engine."""

from __future__ import annotations

import re
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest

from poolform import DeploymentImage, DockerImage, Variables
from poolform.core.errors import ImageError, NotReady, UsageError
from poolform.core.plugins import load_plugins
from poolform.core.pools.contract import JobVariables
from poolform.core.pools.records import new_record
from poolform.core.runs import images
from poolform.core.runs.docker import Docker
from poolform.core.runs.packing import pack
from poolform.core.settings import Settings

TEMPLATE = {"job_configuration": {}, "variables": {"properties": {"image": {"type": "string"}}}}


@pytest.fixture(scope="module")
def plugins():
    return load_plugins(Settings.from_environment({}))


@pytest.fixture
def pool(plugins):
    made = new_record("here", plugins.pool_type("process"), Variables())
    return replace(made, base_job_template=TEMPLATE, image_namespace="registry.example:5000/team")


@pytest.mark.parametrize(
    ("given", "tag", "name", "found"),
    [
        ("my-image:latest", None, "my-image", "latest"),
        ("my-image", "v1", "my-image", "v1"),
        ("registry.example:5000/a/b:1", None, "registry.example:5000/a/b", "1"),
        ("registry.example:5000/a", "2", "registry.example:5000/a", "2"),
    ],
)
def test_a_name_may_have_a_registry_and_a_tag(given, tag, name, found):
    image = DockerImage(given, tag)
    assert (image.name, image.tag, image.reference) == (name, found, f"{name}:{found}")


def test_without_a_tag_one_is_made_of_the_time():
    assert re.fullmatch(r"\d{8}-\d{6}", DockerImage("my-image").tag)
    assert DeploymentImage is DockerImage


@pytest.mark.parametrize(
    ("arguments", "options", "sentence", "hint"),
    [
        (("My-Image:1",), {}, "'My-Image' cannot be the name", "Write it so: my-image"),
        (("a b",), {}, "cannot be the name", "Write it so: a-b"),
        (("",), {}, "cannot be the name", ""),
        (("--x",), {}, "cannot be the name", ""),
        (("a:b c",), {}, "cannot be the tag", ""),
        (("a:1", "2"), {}, "has a tag already", ""),
        (("a@sha256",), {}, "is a digest", ""),
        (("a",), {"buildarg": {}}, "has no option buildarg", "buildargs"),
    ],
)
def test_what_cannot_be_an_image_gets_a_sentence(arguments, options, sentence, hint):
    with pytest.raises(UsageError) as caught:
        DockerImage(*arguments, **options)
    assert sentence in caught.value.message
    assert hint in (caught.value.hint or "")


def test_an_image_without_a_registry_goes_to_the_pools_own(pool, plugins):
    order = images.order("my-image:1", pool, plugins)
    assert order.reference == "registry.example:5000/team/my-image:1"
    assert images.order("ghcr.io/me/my-image:1", pool, plugins).reference == "ghcr.io/me/my-image:1"
    assert images.order("python:3.12", pool, plugins, build=False).reference == "python:3.12"
    assert images.order(None, pool, plugins).reference is None
    prefects = SimpleNamespace(name="my-image", tag="1", dockerfile="auto", build_kwargs={"platform": "linux/arm64"})
    order = images.order(prefects, pool, plugins)
    assert (order.reference, order.image.platform) == ("registry.example:5000/team/my-image:1", "linux/arm64")


def test_ecs_has_one_repository_whose_images_are_told_apart_by_their_tags(plugins):
    registered = plugins.pool_type("ecs:push")
    own = "1.dkr.ecr.eu-west-1.amazonaws.com/pool-x"
    pool = replace(
        new_record("cloud", plugins.pool_type("process"), Variables()),
        type="ecs:push",
        base_job_template=TEMPLATE,
        image_namespace=own,
        connection={"settings": {}, "job_defaults": {}, "image_namespace": own},
    )
    assert isinstance(registered.pool_type, images.HasRegistry)
    assert images.order("my-image:1", pool, plugins).reference == f"{own}:my-image-1"


def test_pools_without_images_refuse_one(plugins):
    pool = new_record("here", plugins.pool_type("process"), Variables())
    assert "image" not in JobVariables.model_fields
    with pytest.raises(UsageError, match="here runs no images"):
        images.order("my-image:1", pool, plugins)


def test_an_image_for_a_registry_that_is_yet_to_be_made_is_told_to_provision_it(plugins):
    pool = replace(new_record("cloud", plugins.pool_type("ecs:push"), Variables()), image_namespace=None)
    with pytest.raises(NotReady, match="the work pool cloud, which has one of its own, is not provisioned") as caught:
        images.order("my-image:1", pool, plugins).carry_out(None)
    assert "poolform work-pool provision-infra cloud" in caught.value.hint


def test_an_image_without_any_registry_cannot_be_pushed(pool, plugins):
    order = images.order("my-image:1", replace(pool, image_namespace=None), plugins)
    with pytest.raises(UsageError, match="my-image:1 names no registry, and there is no default one"):
        order.carry_out(None)


def test_the_generated_dockerfile_takes_requirements_first(tmp_path):
    assert images.generated_dockerfile(tmp_path, "base:1").splitlines() == [
        "FROM base:1",
        f"WORKDIR /opt/{tmp_path.name}",
        "COPY . .",
    ]
    (tmp_path / "requirements.txt").touch()
    assert images.generated_dockerfile(tmp_path).splitlines()[2:] == [
        "COPY requirements.txt ./",
        "RUN python -m pip install --no-cache-dir -r requirements.txt",
        "COPY . .",
    ]


def test_what_nobody_wants_in_an_image_is_left_out(code):
    (code / ".env.production").write_text("TOKEN=s3cret")
    (code / ".env.example").write_text("TOKEN=")
    (code / ".poolform").mkdir()  # the folder of the code is somebody's home
    (code / ".poolform" / "secret.keys").write_text("s3cret")
    packed = BytesIO()
    pack(code, packed, {".poolform.Dockerfile": "FROM x\n"})
    packed.seek(0)
    with tarfile.open(fileobj=packed) as archive:
        assert archive.getnames() == [".poolform.Dockerfile", ".env.example", "beside.py", "flow.py"]


def test_values_of_build_arguments_are_not_on_the_command_line():
    flags, env = images._flags(
        {"buildargs": {"TOKEN": "s3cret"}, "labels": {"a": "b"}, "nocache": True, "pull": False, "target": "x"}
    )
    assert flags == ["--build-arg", "TOKEN", "--label", "a=b", "--no-cache", "--target", "x"]
    assert env == {"TOKEN": "s3cret"}


def stand_in(folder, script):
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_no_docker_and_no_engine_are_two_sentences(tmp_path):
    with pytest.raises(UsageError, match="There is no docker on this machine"):
        Docker.find({"PATH": str(tmp_path)})
    with pytest.raises(UsageError, match="There is no elsewhere on this machine"):
        Docker.find({"PATH": str(tmp_path), "POOLFORM_DOCKER": "elsewhere"})
    said = "echo 'Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?' >&2; exit 1"
    with pytest.raises(ImageError, match="no Docker engine answers") as caught:
        Docker.find(stand_in(tmp_path, said))
    assert "Start it" in caught.value.hint


def test_the_real_docker_without_an_engine(tmp_path, monkeypatch):
    import shutil

    if shutil.which("docker") is None:
        pytest.skip("there is no docker on PATH")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    with pytest.raises(ImageError, match="no Docker engine answers"):
        Docker.find()
    assert Path(tmp_path).exists()
