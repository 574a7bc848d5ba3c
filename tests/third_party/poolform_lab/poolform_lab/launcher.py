"""A launcher that runs jobs as processes of this machine, one folder each, at one of several benches."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from poolform import JobStatus, Launcher, LogLine, LogPage

GRACE = 1.0

# The shell outlives us and notes how the job ended; it leads a session, so `$$` names all of the job's processes.
START = """
{ trap : TERM; "$@"; echo $? > "$0/exit.new"; mv "$0/exit.new" "$0/exit"; } > "$0/log" 2>&1 &
echo $$ > "$0/group"
"""


class BenchLauncher(Launcher):
    remembers = timedelta(days=1)
    secrets = "plain"

    def __init__(self, benches):
        self._benches = [Path(bench) for bench in benches]

    def runtime_command(self):
        return (sys.executable, "-m", "poolform.runtime")

    def launch(self, job):
        folder = self._benches[job.configuration["bench"]] / job.key
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            return str(folder)
        env = {"PATH": os.environ["PATH"], **job.env, **job.secrets}
        command = ["sh", "-c", START, folder, *job.command]
        try:
            subprocess.run(command, env=env, stdin=subprocess.DEVNULL, start_new_session=True, check=True)
        except OSError:
            self.remove(folder)
            raise
        return str(folder)

    def find(self, key):
        return next((str(bench / key) for bench in self._benches if (bench / key).is_dir()), None)

    def poll(self, handles):
        return {handle: self._status(Path(handle)) for handle in handles if Path(handle).is_dir()}

    def _status(self, folder):
        cancelled = folder / "cancelled"
        if cancelled.exists() and time.time() - cancelled.stat().st_mtime > GRACE:
            self._signal(folder, signal.SIGKILL)
        lives = self._signal(folder, 0)
        if (folder / "exit").exists():
            return JobStatus("exited", int((folder / "exit").read_text()))
        if lives or not (folder / "group").exists():
            return JobStatus("running")
        return JobStatus("exited", 137, "its shell was killed")

    def logs(self, handle, cursor):
        folder = Path(handle)
        done = self._status(folder).state == "exited"
        data = (folder / "log").read_bytes() if (folder / "log").exists() else b""
        start = cursor or 0
        end = len(data) if done else data.rfind(b"\n") + 1
        lines = [LogLine(line.decode(errors="replace")) for line in data[start:end].splitlines()]
        return LogPage(lines, max(end, start), done)

    def cancel(self, handle):
        folder = Path(handle)
        if folder.is_dir() and not (folder / "cancelled").exists():
            (folder / "cancelled").touch()  # since when, also when it is cancelled again
        self._signal(folder, signal.SIGTERM)

    def remove(self, handle):
        shutil.rmtree(handle, ignore_errors=True)

    def _signal(self, folder, number):
        try:
            os.killpg(int((folder / "group").read_text()), number)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return False
        return True
