"""A platform to test dispatching against: it starts real processes, remembers them in a folder, and forgets on demand.

A job's folder is its handle. The wrapper's first act is `mkdir started`, so that of two launches with one key one
starts; that it is the platform's act, and not the launcher's, is what a kill between the two is about.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from poolform.core.runs.launchers import Job, JobStatus, Launcher, LogLine, LogPage

WRAPPER = """
cd "$0" && mkdir started 2>/dev/null || exit 0
trap 'test -e job && kill -TERM "$(cat job)"' TERM
echo $$ > pid.new && mv pid.new pid
"$@" > out 2>&1 &
echo $! > job
wait $!; code=$?
while kill -0 "$(cat job)" 2>/dev/null; do wait "$(cat job)"; code=$?; done
echo $code > exit.new && mv exit.new exit
"""


class Platform(Launcher):
    """Starts processes; polled."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True, parents=True)

    def launch(self, job: Job) -> str:
        home = self.folder / job.key
        home.mkdir(exist_ok=True)
        self.spawn(home, job)
        return str(home)

    def spawn(self, home, job):
        process = subprocess.Popen(
            ("sh", "-c", WRAPPER, str(home), *job.command),
            env={**os.environ, **job.env, **job.secrets},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(target=self.reap, args=(process,), daemon=True).start()

    def reap(self, process):
        process.wait()

    def find(self, key):
        home = self.folder / key
        return str(home) if (home / "started").exists() else None

    def poll(self, handles):
        found = {handle: self.status(Path(handle)) for handle in handles}
        return {handle: status for handle, status in found.items() if status is not None}

    def status(self, home):
        if not home.exists():
            return None
        for _ in range(2):
            if (home / "exit").exists():
                return JobStatus("exited", int((home / "exit").read_text()))
            if not (home / "pid").exists():
                return JobStatus("starting")
            if alive(int((home / "pid").read_text())):
                return JobStatus("running")
        return JobStatus("exited", None, "the wrapper was killed")

    def logs(self, handle, cursor):
        home, at = Path(handle), cursor or 0
        ended = (self.status(home) or JobStatus("exited")).state == "exited"
        try:
            with (home / "out").open("rb") as out:
                out.seek(at)
                text = out.read(1 << 16)
        except FileNotFoundError:
            return LogPage((), at, ended)
        whole = text if ended and len(text) < 1 << 16 else text[: text.rfind(b"\n") + 1]
        lines = [LogLine(line.decode("utf-8", "replace")) for line in whole.split(b"\n")]
        if lines and not lines[-1].text:
            lines.pop()
        return LogPage(lines, at + len(whole), ended and len(text) < 1 << 16)

    def cancel(self, handle):
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((Path(handle) / "pid").read_text()), signal.SIGTERM)

    def remove(self, handle):
        shutil.rmtree(handle, ignore_errors=True)


class Notifying(Platform):
    """The same, but it says when a job ended."""

    def __init__(self, folder):
        super().__init__(folder)
        self.watched = set()
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self.writer, False)

    def spawn(self, home, job):
        self.watched.add(str(home))
        super().spawn(home, job)

    def reap(self, process):
        process.wait()
        self.ring()

    def watch(self, handle):
        """Ring for a job that another process of ours has started."""
        while (self.status(Path(handle)) or JobStatus("exited")).state != "exited":
            time.sleep(0.02)
        self.ring()

    def ring(self):
        with suppress(OSError):
            os.write(self.writer, b"!")

    def fileno(self):
        return self.reader

    def poll(self, handles):
        with suppress(BlockingIOError):
            os.read(self.reader, 4096)
        for handle in set(handles) - self.watched:
            self.watched.add(handle)
            threading.Thread(target=self.watch, args=(handle,), daemon=True).start()
        return super().poll(handles)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def build_job(pool, deployment, run):
    """Make a job of the run's job variables: a shell script, maybe secrets."""
    variables = run.job_variables
    return Job(
        key=run.key,
        name=run.name,
        command=("sh", "-c", variables.get("script", "true")),
        configuration={},
        env={"KEY": run.key, "ATTEMPT": str(run.attempt), **variables.get("env", {})},
        secrets=variables.get("secrets", {}),
    )
