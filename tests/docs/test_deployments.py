"""docs/deployments, done as a newcomer does it, against servers on loopback."""

from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
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
