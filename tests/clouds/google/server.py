"""The door: one HTTP server for all of Google's APIs.

Each call is recognised, its caller found, its permission checked, recorded, and then answered. What an API needs to be
active for is refused until Terraform has activated it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from clouds.faults import Faults, HungUp, after, before
from clouds.google.wire import GoogleError, Request

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

    from clouds.google.accounts import Accounts

_ALWAYS_ACTIVE = ("cloudresourcemanager", "openidconnect", "storage")


@dataclass(frozen=True)
class Route:
    """One method of an API. `permission` and `resource` are what the caller needs; none where the handler decides."""

    method: str
    path: re.Pattern[str]
    service: str
    name: str
    handler: Callable[[Request], dict[str, Any]]
    permission: str | None = None
    resource: str = "projects/{0}"


@dataclass(frozen=True)
class Seen:
    """A call that was answered."""

    name: str
    caller: str
    status: int
    body: bytes


class Door:
    """Tells calls apart, checks and answers them. Thread-safe."""

    def __init__(self, accounts: Accounts, routes: list[Route], faults: Faults) -> None:
        self._accounts, self._routes, self._faults = accounts, routes, faults
        self.seen: list[Seen] = []

    def answer(self, method: str, target: str, headers: Any, raw: bytes) -> tuple[int, dict[str, Any]]:
        """Return status and body. Raises HungUp where the connection is to be cut."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path in ("/token", "/sts"):
            return self._token(raw)
        name, caller = f"{method} {parts.path}", ""
        try:
            route, args = self._find(method, parts.path)
            name = route.name
            caller = self._accounts.caller(headers.get("Authorization", ""))
            request = Request(route.name, args, query, json.loads(raw or b"{}"), caller, raw)
            faults = self._faults.matching(request)
            before(faults, request)
            self._require_active(route)
            if route.permission:
                self._accounts.require(caller, route.permission, route.resource.format(*args))
            body = route.handler(request)
            self.seen.append(Seen(name, caller, 200, raw))
            after(faults, request)
        except GoogleError as error:
            self.seen.append(Seen(name, caller, error.code, raw))
            return error.code, error.body()
        return 200, body

    def _find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        for route in self._routes:
            match = route.path.fullmatch(path)
            if match and route.method == method:
                return route, tuple(map(unquote, match.groups()))
        raise GoogleError(404, f"Method not found: {method} {path}")

    def _require_active(self, route: Route) -> None:
        services = self._accounts.cloud.objects().get("google_project_service", {}).values()
        api = f"{route.service}.googleapis.com"
        if route.service not in _ALWAYS_ACTIVE and not any(item["service"] == api for item in services):
            raise GoogleError(
                403,
                f"{api} has not been used in project {self._accounts.number} before or it is disabled.",
                reason="SERVICE_DISABLED",
            )

    def _token(self, raw: bytes) -> tuple[int, dict[str, Any]]:
        form = dict(parse_qsl(raw.decode()))
        try:
            token = self._accounts.exchange(form.get("assertion") or form.get("subject_token", ""))
        except GoogleError as error:
            return 400, {"error": "invalid_grant", "error_description": error.message}
        return 200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, Callable[[Door], None]]]:
    """Serve on a free loopback port; yields the endpoint's URL, and a function that is given the door to answer by."""
    doors: list[Door] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, body = doors[0].answer(self.command, self.path, self.headers, raw)
            except HungUp:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            data = json.dumps(body).encode()
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_POST = do_DELETE = do_PATCH = _answer  # noqa: N815 - the library's names

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Callers that are killed in the middle of a call are what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", doors.append
    finally:
        server.shutdown()
        server.server_close()
