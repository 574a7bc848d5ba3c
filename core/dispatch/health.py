"""A worker's health over HTTP, for whoever watches over it: a supervisor, a container engine, a load balancer."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from poolform.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolform.core.dispatch.worker import Worker

STALLED = 60.0
"""Seconds without a turn of its loop after which a worker is not alive any more."""
_AWAY = 30.0  # seconds without an answer of the store after which that counts as away


def report(worker: Worker) -> dict[str, Any]:
    """Return how a worker is, for programs.

    `live` is false where only a new start would help: its loop stands still, or a launcher has hung for minutes. A
    store that cannot be reached is told, and no reason to start again.
    """
    status = worker.status()
    live = status.turned_ago < STALLED and not status.stuck
    return {
        "live": live,
        "status": "stalled" if not live else "draining" if status.draining else "working",
        "worker": worker.name,
        "store": "reachable" if status.looked_ago < _AWAY else "away",
        "last_poll_seconds_ago": round(status.looked_ago, 3),
        "held": len(status.held),
        "runs": sorted(status.held),
        "stuck_pools": sorted(status.stuck),
    }


@contextmanager
def served(worker: Worker, host: str, port: int) -> Iterator[int]:
    """Answer `GET /health` for as long as this lasts: 200 while the worker lives, else 503. Yields the port.

    Raises UsageError where the port cannot be had.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            found = report(worker) if self.path.partition("?")[0] == "/health" else None
            body = json.dumps(found or {"error": "there is only /health"}).encode()
            self.send_response(404 if found is None else 200 if found["live"] else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - likewise
            """Say nothing: it is asked every few seconds."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as exc:
        raise UsageError(
            f"The health endpoint cannot be at {host}:{port}: {getattr(exc, 'strerror', None) or exc}.",
            hint="Choose another --health-port; 0 takes any that is free.",
        ) from exc
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.25}, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
