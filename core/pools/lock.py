"""A pool's lock: one change of a pool at a time.

On one machine it is a flock on a file whose descriptor Terraform inherits. So a Poolform that was killed while
Terraform works leaves the pool locked exactly until Terraform has ended. Machines that share a PostgreSQL database are
kept apart by an advisory lock there, and while Terraform works by the state backend's own lock.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from poolform.core.errors import Busy, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolform.core.settings import Settings
    from poolform.core.store.database import Store


def whoami() -> str:
    """Name the person at this machine, for locks and history."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's nameless user id
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@contextmanager
def pool_lock(settings: Settings, store: Store[Any], pool_id: str, pool_name: str, doing: str) -> Iterator[int]:
    """Hold a pool's lock and yield its file descriptor, for children to inherit.

    Raises Busy, naming who holds it and since when.
    """
    path = settings.folder("locks") / f"{pool_id}.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(path, pool_name) from None
        file.truncate(0)
        holder = {"who": whoami(), "pid": os.getpid(), "since": time.time(), "doing": doing}
        file.write(json.dumps(holder))
        file.flush()
        try:
            with _advisory_lock(store, pool_id, pool_name):
                yield file.fileno()
        finally:
            # Closing is not enough: a program that a provisioner left running has inherited the descriptor, too.
            fcntl.flock(file, fcntl.LOCK_UN)


def require_unlocked(settings: Settings, pool_id: str, pool_name: str) -> None:
    """Say at once that somebody is changing a pool, instead of after a plan that would be stale. Raises Busy."""
    path = settings.folder("locks") / f"{pool_id}.lock"
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(path, pool_name) from None


@contextmanager
def _advisory_lock(store: Store[Any], pool_id: str, pool_name: str) -> Iterator[None]:
    """Hold PostgreSQL's session-level lock; it outlives transactions, and goes with the connection if we die."""
    if store.dialect != "postgresql":
        yield
        return
    key = {"key": f"poolform:{pool_id}"}
    with store.read() as tx:
        got = tx.execute("SELECT pg_try_advisory_lock(hashtextextended(:key, 0)) AS got", key)[0]["got"]
    if not got:
        raise Busy(
            f"The pool {pool_name} is being changed just now from another machine.",
            hint="Wait until that ends, then run this again.",
        )
    try:
        yield
    finally:
        with suppress(StoreError), store.read() as tx:
            tx.execute("SELECT pg_advisory_unlock(hashtextextended(:key, 0))", key)


def _busy(path: Path, pool_name: str) -> Busy:
    return Busy(
        f"The pool {pool_name} is being changed just now{_holder(path)}.",
        hint="Wait until that ends, then run this again.",
    )


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        minutes = max(0, int((time.time() - holder["since"]) / 60))
        since = f"{minutes} min ago" if minutes else "a moment ago"
        return f": {holder['doing']} by {holder['who']} (process {holder['pid']}), begun {since}"
    except (OSError, ValueError, KeyError):
        return ""
