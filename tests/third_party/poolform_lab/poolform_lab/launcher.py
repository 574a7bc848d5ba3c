"""A launcher that runs jobs as child processes, one folder each; just enough to run a flow."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from pathlib import Path

from poolform import JobStatus, Launcher, LogLine, LogPage


class BenchLauncher(Launcher):
    remembers = timedelta(days=1)
    secrets = "plain"

    def __init__(self, benches):
        self._benches = benches
        self._children = {}

    def launch(self, job):
        folder = Path(self._benches[job.configuration["bench"]]) / job.key
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            return str(folder)
        with (folder / "log").open("wb") as log:
            self._children[str(folder)] = subprocess.Popen(
                ["sh", "-c", '"$@"; echo $? > "$0/exit.new"; mv "$0/exit.new" "$0/exit"', folder, *job.command],
                env={"PATH": os.environ["PATH"], **job.env, **job.secrets},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        return str(folder)

    def find(self, key):
        return next((str(Path(bench) / key) for bench in self._benches if (Path(bench) / key).is_dir()), None)

    def poll(self, handles):
        return {handle: self._status(Path(handle)) for handle in handles if Path(handle).is_dir()}

    def _status(self, folder):
        if not (folder / "exit").exists():
            return JobStatus("running")
        child = self._children.pop(str(folder), None)
        if child is not None:
            child.wait()
        return JobStatus("exited", int((folder / "exit").read_text()))

    def logs(self, handle, cursor):
        data = (Path(handle) / "log").read_bytes()
        done = (Path(handle) / "exit").exists()
        start = cursor or 0
        end = len(data) if done else data.rfind(b"\n") + 1
        lines = [LogLine(line.decode(errors="replace")) for line in data[start:end].splitlines()]
        return LogPage(lines, max(end, start), done)

    def cancel(self, handle):
        child = self._children.get(handle)
        if child is not None:
            child.terminate()

    def remove(self, handle):
        folder = Path(handle)
        if folder.is_dir():
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
