"""Small jobs to try a launcher with, and the waiting that goes with them."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from poolform.core.runs.launchers import Job, Prepares, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from poolform.core.runs.launchers import JobStatus, Json, Launcher, LogLine

T = TypeVar("T")


@dataclass(frozen=True)
class Workbench:
    """Makes jobs of Python code for one platform, and follows them there.

    `marks` is a folder where each job that starts leaves a byte, or None where jobs cannot write to this machine.
    Waiting gives up after `patience` seconds with an AssertionError that says what it waited for.
    """

    python: Sequence[str]
    configuration: Mapping[str, Json]
    marks: Path | None
    patience: float
    pause: float = 0.02
    launched: list[str] = field(default_factory=list)
    """The handles of all jobs that were launched, to be cleared away."""

    def job(
        self,
        code: str,
        *arguments: str,
        key: str | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> Job:
        """Return a job that runs `code` with `arguments` in sys.argv, under a key that nobody had before."""
        key = key or f"{uuid.uuid4()}.1"
        if self.marks:
            mark = self.marks / key
            code = f"with open({str(mark)!r}, 'ab') as mark:\n    mark.write(b'.')\n{code}"
        return Job(
            key=key,
            name=f"contract-{key[:8]}",
            command=tuple(command or (*self.python, "-c", code, *arguments)),
            configuration=self.configuration,
            env=dict(env or {}),
            secrets=dict(secrets or {}),
            labels={"poolform.test": "contract"},
        )

    def launch(self, launcher: Launcher, job: Job) -> str:
        """Launch as core does: settle the request first, and store and read back the job in between."""
        if isinstance(launcher, Prepares) and job.request is None:
            job = replace(job, request=launcher.prepare(job))
        stored = Job.from_json(job.to_json())
        assert stored == job, "a job must be the same after it was stored: `prepare` must return plain JSON"
        handle = launcher.launch(stored)
        self.launched.append(handle)
        return handle

    def starts(self, job: Job) -> int | None:
        """Return how often a job was started, None where that cannot be seen."""
        if self.marks is None:
            return None
        mark = self.marks / job.key
        return mark.stat().st_size if mark.exists() else 0

    def find(self, launcher: Launcher, key: str) -> str | None:
        """Return the handle of the job with this key, None when it was not launched."""
        return self._ask(lambda: launcher.find(key))

    def status(self, launcher: Launcher, handle: str) -> JobStatus | None:
        """Return the status of one job, None when it is gone."""
        return self._ask(lambda: launcher.poll([handle])).get(handle)

    def wait(self, what: str, happened: Callable[[], object]) -> None:
        """Wait until something has happened."""
        deadline = time.monotonic() + self.patience
        while not happened():
            assert time.monotonic() < deadline, f"{what}: not within {self.patience:g} seconds"
            time.sleep(self.pause)

    def wait_for_end(self, launcher: Launcher, handle: str) -> JobStatus:
        """Wait until a job has exited and return its status."""
        ended: list[JobStatus] = []

        def exited() -> bool:
            status = self.status(launcher, handle)
            assert status is not None, "poll leaves the handle out, as if the job were gone; nobody has removed it"
            alive = status.state in ("starting", "running")
            assert alive or status.state == "exited", f"{status.state!r} is no state of a job"
            assert not alive or status.exit_code is None, "a job that lives has no exit code yet"
            if not alive:
                ended.append(status)
            return not alive

        self.wait("the job's end", exited)
        return ended[0]

    def read(self, launcher: Launcher, handle: str, cursor: Json = None) -> tuple[list[LogLine], Json, bool]:
        """Read one page; the cursor comes back as the store would give it back."""
        page = self._ask(lambda: launcher.logs(handle, cursor))
        return list(page.lines), json.loads(json.dumps(page.cursor)), page.done

    def wait_for_line(self, launcher: Launcher, handle: str) -> None:
        """Wait until a job has printed a line."""
        self.wait("the job's first line", lambda: self.read(launcher, handle)[0])

    def count_starts(self, launcher: Launcher, job: Job, handle: str) -> int:
        """Wait for a job's start, give a second one as long to start as the first took, end it, and count starts.

        Where starts cannot be seen, the lines of its log that say `running` are counted.
        """
        began = time.monotonic()
        self.wait_for_line(launcher, handle)
        time.sleep(max(0.2, time.monotonic() - began))
        launcher.cancel(handle)
        self.wait_for_end(launcher, handle)
        starts = self.starts(job)
        return self.drain(launcher, handle).count("running") if starts is None else starts

    def read_on(self, launcher: Launcher, handle: str, cursor: Json) -> tuple[list[str], Json]:
        """Read a job's output since `cursor` until no line can come any more; return it, and the last cursor."""
        texts: list[str] = []

        def done() -> bool:
            nonlocal cursor
            lines, cursor, finished = self.read(launcher, handle, cursor)
            texts.extend(line.text for line in lines)
            return finished

        self.wait("the end of the job's log (`done`)", done)
        return texts, cursor

    def drain(self, launcher: Launcher, handle: str) -> list[str]:
        """Read all that a job prints."""
        return self.read_on(launcher, handle, None)[0]

    def run(self, launcher: Launcher, job: Job) -> tuple[JobStatus, list[str]]:
        """Launch a job, wait for its end, and return its status and all of its output."""
        handle = self.launch(launcher, job)
        status = self.wait_for_end(launcher, handle)
        return status, self.drain(launcher, handle)

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask a platform that may be busy just now, as core does."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return question()
            except Unavailable:
                assert time.monotonic() < deadline, f"Unavailable for {self.patience:g} seconds"
                time.sleep(self.pause)
