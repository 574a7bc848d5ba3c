"""In front of a real Docker engine: a proxy that names each call and brings trouble on request."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from clouds.faults import Faults, HungUp, after, before

SOCKET = "/var/run/docker.sock"


@dataclass(frozen=True)
class Call:
    """One request; `name` is such as `POST containers/create` or `GET containers/NAME/json`."""

    name: str
    text: bytes = field(repr=False)


@dataclass
class Front:
    """What clients connect to, as DOCKER_HOST; `calls` are the requests so far."""

    host: str
    faults: Faults = field(default_factory=Faults)
    calls: list[Call] = field(default_factory=list)


@contextmanager
def in_front():
    """Serve a proxy of the engine on loopback while this lasts."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        front = Front(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        threading.Thread(target=_accept, args=(server, front), daemon=True).start()
        yield front


def _accept(server, front):
    with suppress(OSError):  # closed
        while True:
            client, _ = server.accept()
            threading.Thread(target=_serve, args=(client, front), daemon=True).start()


def _serve(client, front):
    """Pass on one request and its answer; each has a connection of its own, so that an answer ends where it ends."""
    with client, suppress(OSError, HungUp):
        head, body = _request(client)
        path = re.match(rb"(\S+) /(?:v[\d.]+/)?([^ ?]*)", head)
        call = Call(f"{path[1].decode()} {path[2].decode()}", body)
        front.calls.append(call)
        struck = front.faults.matching(call)
        before(struck, call)
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(SOCKET)
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
            engine.sendall(b"\r\n".join([lines[0], b"Connection: close", *lines[1:]]) + b"\r\n\r\n" + body)
            first = engine.recv(65536)  # the engine has done it, or has refused to
            after(struck, call)
            while first:
                client.sendall(first)
                first = engine.recv(65536)


def _request(client):
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            raise HungUp
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    while length and len(body) < int(length[1]):
        body += client.recv(65536)
    return head, body
