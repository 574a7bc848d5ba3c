"""docs/deployments, done as a newcomer does it, against servers on loopback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from clouds.docker import PASSWORD, USER
from clouds.git import TOKEN, serve

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")


@pytest.fixture
def api():
    """An HTTP API that knows one repository."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == "/repos/python/cpython"
            body = json.dumps({"stargazers_count": 70_000, "forks_count": 33_000}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def git(tmp_path):
    yield from serve(tmp_path / "git" / "repositories")


@pytest.mark.slow
def test_code(page, api, git):
    """The tutorial of the field, then private repositories and code that travels along."""
    followed = page(
        "deployments/code.md",
        {
            "https://api.github.com": api,
            "https://github.com/me/flows.git": f"{git.url}/me/flows.git",
            "https://gitlab.com/acme/private/flows.git": f"{git.url}/acme/private/flows.git",
        },
    )
    flow = {"get_repo_info.py": followed.files["get_repo_info.py"]}
    git.make("me/flows", flow).commit(flow, branch="next")
    git.make("acme/private/flows", flow)
    (followed.folder / "token.json").write_text(json.dumps({"token": TOKEN}))
    followed.follow()


@pytest.fixture
def loopback_image(engine, base_image):
    """The image that generated Dockerfiles start from, without its registry."""
    name = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    if subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode:
        subprocess.run(["docker", "tag", base_image, name], check=True)
        yield name
        subprocess.run(["docker", "image", "rm", name], capture_output=True, check=False)
    else:
        yield name


@pytest.mark.docker
@pytest.mark.slow
def test_images(page, registry, loopback_image, tmp_path):
    """Images built, pushed to registries that want a password, and run."""
    host = registry.host
    followed = page(
        "deployments/images.md",
        {
            "--type ecs:push": f"--type containers --set folder={tmp_path}/jobs --set registry={host}/team",
            "ghcr.io/me": f"{host}/me",
            "python:3.12-slim": loopback_image,
            "RUN pip install polars\n": "",
        },
        POOLFORM_PLUGINS="containers",
        PYTHONPATH=str(Path(__file__).parent),
        DOCKER_CONFIG=str(tmp_path / "docker-config"),
    )
    login = {"username": USER, "password": PASSWORD}
    (followed.folder / "login.json").write_text(json.dumps(login))
    (followed.folder / "Dockerfile").write_text(next(block for kind, block in followed.blocks if kind == "text"))
    subprocess.run(["docker", "login", "-u", USER, "--password-stdin", host], input=PASSWORD, text=True, check=True,
                   env=followed.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    followed.follow()
    assert sorted(registry.tags("team/my-image")) == ["2", "3", "latest"]
    assert registry.tags("me/my-image") == ["1"]
    made = [f"{host}/team/my-image:{tag}" for tag in ("latest", "2", "3")] + [f"{host}/me/my-image:1"]
    subprocess.run(["docker", "image", "rm", *made], check=True, stdout=subprocess.DEVNULL)
