"""A private PostgreSQL server on loopback, for tests and benchmarks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path


def start():
    """Start a server on a free port and return its URL and folder; as nobody where root runs this, which it refuses."""
    # Not below pytest's own folder: another user could not enter that.
    folder = Path(tempfile.mkdtemp(prefix="poolform-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    run(folder, "initdb", "-U", "poolform", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"-c fsync=off -c listen_addresses=127.0.0.1 -c port={port} -c max_connections=200 -k {folder}"
    run(folder, "pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", options)
    return {"url": f"postgresql://poolform@127.0.0.1:{port}", "folder": str(folder)}


def restart(server, mode):
    """Stop a server (`fast`: politely, `immediate`: as a crash does) and start it again as it was."""
    run(Path(server["folder"]), "pg_ctl", "restart", "-w", "-m", mode, "-l", f"{server['folder']}/log")


def stop(server):
    """Stop a server and remove all of it."""
    run(Path(server["folder"]), "pg_ctl", "stop", "-w", "-m", "fast")
    shutil.rmtree(server["folder"], ignore_errors=True)


def run(folder, program, *arguments):
    """Run one of PostgreSQL's programs on the server in `folder`."""
    as_user = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups") if os.geteuid() == 0 else ()
    with (folder / "output").open("w") as output:  # a file: the server inherits it, and would keep a pipe open
        subprocess.run(
            (*as_user, program, *arguments, "-D", str(folder / "data")),
            check=True, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
