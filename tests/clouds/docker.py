"""A Docker engine, a base image that no registry is needed for, and a registry that wants a password."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

import pytest

BASE_VARIABLE = "POOLFORM_TESTS_BASE_IMAGE"
"""Names an image with `python` in it, of this machine's engine; else one is made of the host's debootstrap."""
_NAMED = os.environ.get(BASE_VARIABLE)  # before a test's own home takes every POOLFORM_ variable away
USER, PASSWORD = "pusher", "s3cret-registry"
HASH = "$2y$05$kC7iQWyMFFUGpQ1.nQI3xuLs2gT/J5lFXOZF6MEDY5UvCJK457LpC"  # of PASSWORD, by `htpasswd -B`


@dataclass(frozen=True)
class Registry:
    host: str

    def tags(self, name):
        """The tags that somebody with the password sees."""
        import base64
        import json

        request = urllib.request.Request(f"http://{self.host}/v2/{name}/tags/list")
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["tags"]


def docker(*arguments, **options):
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def engine():
    """A Docker engine that answers."""
    if shutil.which("docker") is None:
        pytest.skip("there is no docker on PATH")
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers")


@pytest.fixture(scope="session")
def base_image(engine):
    """An image with a `python` in it."""
    name = _NAMED
    if not name:
        pytest.skip(f"{BASE_VARIABLE} names no image to build on")
    if not docker("image", "ls", "-q", name).strip():
        pytest.skip(f"the engine has no image {name}")
    return name


@pytest.fixture(scope="session")
def registry(engine, tmp_path_factory):
    """Debian's docker-registry on loopback, which Docker trusts without TLS, with basic authentication."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("there is no docker-registry on PATH")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "htpasswd").write_text(f"{USER}:{HASH}\n")
    (folder / "config.yml").write_text(f"""
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}
""")
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/v2/", folder / "log")
        yield Registry(f"127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait()


def _wait_for(url, log):
    for _ in range(200):
        try:
            urllib.request.urlopen(url)
        except urllib.error.HTTPError:
            return  # it asks for a password
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the registry did not start: {log.read_text()}")
