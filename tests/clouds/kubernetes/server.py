"""The API server: HTTP in front of the cluster. Each request is told apart, permitted, recorded, and answered."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from clouds.faults import HungUp, after, before
from clouds.kubernetes.wire import ApiError, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clouds.faults import Faults
    from clouds.kubernetes.people import People
    from clouds.kubernetes.wire import Request

_REQUEST_LIMIT = 3 * 1024 * 1024


@dataclass(frozen=True)
class Call:
    """A call that was permitted, and by whom."""

    verb: str
    group: str
    resource: str
    user: str


class Api:
    """What is behind the HTTP server."""

    def __init__(self, people: People, faults: Faults, answer: Callable[[Request, Any], Any]) -> None:
        self._people, self._faults, self._answer = people, faults, answer
        self.calls: list[Call] = []
        self.bodies: list[tuple[str, bytes]] = []
        """What was sent, by the name of the call."""

    def handle(self, method: str, target: str, headers: dict[str, str], content: bytes) -> tuple[int, bytes]:
        try:
            request = parse(method, target, headers, content)
            faults = self._faults.matching(request)
            before(faults, request)
            user = self._people.caller(request)
            named = request.object if request.verb != "create" else None
            self._people.require(user, request.verb, request.group, request.resource, request.namespace, named)
            self.calls.append(Call(request.verb, request.group, request.resource, user.name))
            self.bodies.append((request.name, content))
            answer = self._answer(request, user)
            after(faults, request)
        except ApiError as exc:
            return exc.status, json.dumps(exc.to_json()).encode()
        except HungUp:
            raise
        except Exception as exc:  # noqa: BLE001 - a mistake of the stand-in's: said, and not taken for the network's
            return 500, json.dumps(ApiError(500, "InternalError", f"the stand-in broke: {exc!r}").to_json()).encode()
        if isinstance(answer, bytes):
            return 200, answer
        return (201 if request.verb == "create" else 200), json.dumps(answer).encode()


@contextmanager
def serving(api: Api, certificate: Path | None = None) -> Iterator[str]:
    """Serve on a free loopback port; yields the URL. With a certificate (and its key, in one file), over TLS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece: in two, the second would wait for the first to be acknowledged
        disable_nagle_algorithm = True

        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            headers = {key.lower(): value for key, value in self.headers.items()}
            try:
                if length > _REQUEST_LIMIT:
                    too_large = ApiError(413, "RequestEntityTooLarge", "limit is 3145728")
                    status, body = 413, json.dumps(too_large.to_json()).encode()
                else:
                    status, body = api.handle(self.command, self.path, headers, content)
            except HungUp:
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            with suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _do  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # whoever hung up

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
