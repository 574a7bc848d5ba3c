"""A git server on loopback: the real `git http-backend`, private repositories too, and archives as hosts offer them."""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "t0ken-that-nobody-may-see"
"""What private repositories want as the password; any user will do."""


class GitServer:
    """Serves bare repositories below `root`; those in `root/private` to who has the token.

    `/archive/PATH/REF.tar.gz` is a repository's archive, as a host without git offers it. `requests` are the paths
    asked for, `down` the number of requests still to be answered with 503.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requests: list[str] = []
        self.down = 0
        owner = self

        class Handler(_Handler):
            server_of = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def make(self, name: str, files: dict[str, str], *, branch: str = "main") -> Repository:
        """Make the repository `name` with one commit of these files."""
        bare, work = self.root / f"{name}.git", self.root.parent / "work" / name
        bare.parent.mkdir(parents=True, exist_ok=True)
        git(self.root, "init", "--quiet", "--bare", f"--initial-branch={branch}", str(bare))
        git(self.root, "clone", "--quiet", str(bare), str(work))
        git(work, "checkout", "--quiet", "-B", branch)
        made = Repository(f"{self.url}/{name}.git", work)
        made.commit(files)
        return made


class Repository:
    """One repository: its URL, and a working copy to change it from."""

    def __init__(self, url: str, work: Path) -> None:
        self.url, self.work = url, work

    def commit(self, files: dict[str, str], *, branch: str | None = None) -> str:
        """Commit files, push, and return the commit."""
        if branch:
            git(self.work, "checkout", "--quiet", "-B", branch)
        for path, text in files.items():
            (self.work / path).parent.mkdir(parents=True, exist_ok=True)
            (self.work / path).write_text(text)
        git(self.work, "add", "--all")
        return self.push()

    def push(self) -> str:
        """Commit what was added, push, and return the commit."""
        git(self.work, "commit", "--quiet", "--allow-empty", "-m", "Change it")
        git(self.work, "push", "--quiet", "origin", "HEAD")
        return git(self.work, "rev-parse", "HEAD").strip()


def git(folder: Path, *arguments: str) -> str:
    """Run git as nobody in particular."""
    who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(("git", *who, *arguments), cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


class _Handler(BaseHTTPRequestHandler):
    server_of: GitServer

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_GET  # noqa: N815 - the base class looks for it by this name

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        owner, parts = self.server_of, urlsplit(self.path)
        owner.requests.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if owner.down > 0:
            owner.down -= 1
            self.send_error(503)
        elif "/private/" in parts.path and not self._knows_the_token():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif parts.path.startswith("/archive/"):
            self._archive(parts.path.removeprefix("/archive/"))
        else:
            self._backend(parts.path, parts.query, body)

    def _knows_the_token(self) -> bool:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            value = base64.b64decode(value).decode().partition(":")[2]
        return value == TOKEN

    def _archive(self, path: str) -> None:
        name, _, ref = path.removesuffix(".tar.gz").rpartition("/")
        command = ("git", "archive", "--format=tar", f"--prefix={Path(name).name}-{ref}/", ref)
        made = subprocess.run(command, cwd=self.server_of.root / f"{name}.git", capture_output=True, check=False)
        if made.returncode:
            self.send_error(404)
            return
        self._send([("Content-Type", "application/x-gzip")], gzip.compress(made.stdout))

    def _backend(self, path: str, query: str, body: bytes) -> None:
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        environ = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.server_of.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        made = subprocess.run(("git", "http-backend"), input=body, env=environ, capture_output=True, check=False).stdout
        head, _, content = made.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n") if line]
        self._send(headers, content)

    def _send(self, headers: list, content: bytes) -> None:
        status = next((value for name, value in headers if name == "Status"), "200")
        self.send_response(int(status[:3]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def serve(root: Path) -> Iterator[GitServer]:
    """Serve repositories below a new folder for as long as a fixture lasts."""
    root.mkdir(parents=True)
    with GitServer(root) as server:
        yield server
