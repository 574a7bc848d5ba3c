"""Jobs on Cloud Run: one job of its API for each run, made and started in one call, found by its name."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from poolform.core.runs.launchers import JobStatus, Launcher, LaunchRefused, LogPage, NoCapacity, Unavailable
from poolform.core.runs.removed import Removed
from poolform.provisioners.cloud_run import definition, logs, secrets, session
from poolform.provisioners.cloud_run.reader import INTERVAL, Reader
from poolform.provisioners.cloud_run.status import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from poolform.core.runs.launchers import Job, Json
    from poolform.provisioners.cloud_run.session import Google

SETTLE = 5.0
"""Seconds after a job's end in which Cloud Logging may still show lines that are new."""
_CALL: Mapping[str, Any] = {"timeout": 30.0, "retry": None}  # core asks again, and knows what for
_FEW = 3  # jobs that are asked for one by one, before listing all of the region's is cheaper


class CloudRunLauncher(Launcher):
    """Launches each job as a Cloud Run job of its own, whose name is made of the job's key.

    Making it starts its one execution (a start-execution token). A second attempt is answered with 409: launched. It
    stays until `remove`, so that what has no job was not launched.
    """

    remembers: ClassVar[timedelta] = timedelta.max
    secrets: ClassVar[Literal["native", "plain", "none"]] = "native"
    threads: ClassVar[int] = 8

    def __init__(
        self,
        google: Google,
        settings: Mapping[str, Json],
        *,
        clock: Callable[[], float] = time.time,
        settle: float = SETTLE,
        interval: float = INTERVAL,
    ) -> None:
        self._google, self._settings, self._clock, self._settle = google, settings, clock, settle
        self._parent = f"projects/{settings['project']}/locations/{settings['region']}"
        self._reader = Reader(google, settings, interval)
        self._removed = Removed(clock)

    def prepare(self, job: Job) -> Json:
        """Return what CreateJob will be asked for `job`, and the names of the secrets that its values go to."""
        return {
            "job_id": definition.job_name(self._settings["prefix"], job.key),
            "job": definition.define(job, self._settings),
            "secrets": definition.secrets_of(job, self._settings),
        }

    def launch(self, job: Job) -> str:
        """Make and start `job`; replaying it starts nothing, and returns the same handle."""
        request = job.request or self.prepare(job)
        handle = f"{self._parent}/jobs/{request['job_id']}"
        body = _parsed(request["job"])
        try:
            with _asking("launching", refusing=True):
                self._put_secrets(request["secrets"], job)
                self._create(handle, body)
        except LaunchRefused:
            self._drop_secrets(request["secrets"].values())
            raise
        return handle

    def find(self, key: str) -> str | None:
        """Return the handle of the job for `key`, None where there is none."""
        handle = f"{self._parent}/jobs/{definition.job_name(self._settings['prefix'], key)}"
        with _asking("looking for a job"):
            return None if self._job(handle) is None else handle

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Return the status of each job, in one list of the region's jobs where there are more than a few."""
        wanted = [handle for handle in handles if handle not in self._removed]
        found: dict[str, JobStatus] = {}
        with _asking("asking for jobs"):
            for job in self._jobs(wanted):
                status = status_of(job, lambda job=job: self._last_task(job.name))  # type: ignore[misc]
                if status is not None:
                    found[job.name] = status
        return found

    def logs(self, handle: str, cursor: Json) -> LogPage:
        """Return what the job has printed since `cursor`. Done once it is over and nothing came for a while.

        Nothing, and not done, where it is not this job's turn: all jobs that are followed are asked about together.
        """
        at = logs.Cursor.parse(cursor)
        with _asking("reading output"):
            found = self._reader.read(handle.rsplit("/", 1)[-1], at)
        if found is None:
            return LogPage([], cursor, done=False)
        if found.entries:
            # More may come right behind; whether the job is over is asked once there is nothing to read.
            lines = [logs.line(entry) for entry in found.entries]
            return LogPage(lines, at.after(found.entries).to_json(), done=False)
        asked = self._clock() - (time.monotonic() - found.at)
        ended = at.ended
        if ended is None and self._has_ended(handle):
            ended = self._clock()
        done = ended is not None and asked - ended >= self._settle
        return LogPage([], logs.Cursor(at.newest, at.seen, ended).to_json(), done=done)

    def cancel(self, handle: str) -> None:
        """Have Cloud Run stop the execution: SIGTERM, and SIGKILL after ten seconds."""
        from google.api_core.exceptions import BadRequest, Conflict, NotFound

        with _asking("stopping a job"):
            try:
                self._google.run("Executions").cancel_execution(name=definition.execution_name(handle), **_CALL)
            except (BadRequest, Conflict, NotFound) as exc:
                # It is over, or gone; or it was made a moment ago, and core asks again.
                if not self._has_ended(handle):
                    raise Unavailable(f"stopping a job: {session.error_text(exc)}") from exc

    def remove(self, handle: str) -> None:
        """Delete the job, its execution, and its own secrets. Its output stays in Cloud Logging, for 30 days."""
        with _asking("removing a job"):
            remove_job(self._google, self._settings["project"], handle)
        self._removed.add(handle)

    def close(self) -> None:
        """Close connections to Google."""
        self._google.close()

    def _create(self, handle: str, body: Any) -> None:
        """Make a job, which starts it. There already is fine: it was launched before."""
        from google.api_core.exceptions import Conflict, TooManyRequests

        try:
            asked = {"parent": self._parent, "job_id": handle.rsplit("/", 1)[-1], "job": body}
            operation = self._google.run("Jobs").create_job(request=asked, **_CALL).operation
        except Conflict:
            return
        except TooManyRequests as exc:
            raise NoCapacity(session.error_text(exc)) from exc
        if operation.HasField("error"):  # refused after all, and at once
            remove_job(self._google, self._settings["project"], handle)
            raise LaunchRefused(f"launching: {operation.error.message}")

    def _put_secrets(self, names: Mapping[str, str], job: Job) -> None:
        settings, values = self._settings, {name: job.secrets[variable] for variable, name in names.items()}
        secrets.put(self._google, settings["project"], settings["region"], values, settings["labels"])

    def _drop_secrets(self, names: Any) -> None:
        with _asking("removing a job's secrets"):
            secrets.drop(self._google, self._settings["project"], names)

    def _jobs(self, handles: Sequence[str]) -> Iterator[Any]:
        if len(handles) <= _FEW:
            yield from filter(None, map(self._job, handles))
            return
        missing = set(handles)
        for job in self._google.run("Jobs").list_jobs(request={"parent": self._parent, "page_size": 500}, **_CALL):
            if job.name in missing:
                missing.remove(job.name)
                yield job
            if not missing:
                return

    def _job(self, handle: str) -> Any:
        """Return a job, None where it is gone or on its way to be."""
        from google.api_core.exceptions import NotFound

        try:
            job = self._google.run("Jobs").get_job(name=handle, **_CALL)
        except NotFound:
            return None
        return None if job.delete_time else job

    def _last_task(self, handle: str) -> Any:
        tasks = self._google.run("Tasks").list_tasks(parent=definition.execution_name(handle), **_CALL)
        return next(iter(tasks), None)

    def _has_ended(self, handle: str) -> bool:
        status = self.poll([handle]).get(handle)
        return status is None or status.state == "exited"


def remove_job(google: Google, project: str, handle: str, *, retry: Any = None) -> None:
    """Delete a job's own secrets, then the job: in that order, its secrets are known for as long as there are any."""
    from google.api_core.exceptions import NotFound

    try:
        job = google.run("Jobs").get_job(name=handle, timeout=30.0, retry=retry)
        name = handle.rsplit("/", 1)[-1]
        references = [env.value_source.secret_key_ref.secret for c in job.template.template.containers for env in c.env]
        secrets.drop(google, project, [secret for secret in references if secret.startswith(f"{name}-")])
        google.run("Jobs").delete_job(name=handle, timeout=30.0, retry=retry)
    except NotFound:
        pass


def _parsed(body: Mapping[str, Json]) -> Any:
    """Return a request's JSON as Cloud Run's own type. Raises LaunchRefused for fields that it does not have."""
    import json

    from google.cloud import run_v2
    from google.protobuf.json_format import ParseError

    try:
        return run_v2.Job.from_json(json.dumps(body))
    except ParseError as exc:
        raise LaunchRefused(
            f"the pool's job template is no job of Cloud Run's API: {' '.join(str(exc).split())}"
        ) from exc


@contextmanager
def _asking(doing: str, *, refusing: bool = False) -> Iterator[None]:
    """Turn what Google's libraries raise into Unavailable; `refusing`, what Google will never do into LaunchRefused."""
    from google.api_core.exceptions import GoogleAPICallError, TooManyRequests, Unauthorized
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    try:
        yield
    except Unauthorized as exc:
        text = session.error_text(exc)
        raise Unavailable(f"{doing}: Google does not accept the pool's credential: {text}") from exc
    except GoogleAPICallError as exc:
        text = session.error_text(exc)
        final = exc.code is not None and exc.code < 500 and not isinstance(exc, TooManyRequests)
        raise (LaunchRefused if refusing and final else Unavailable)(f"{doing}: {text}") from exc
    except GoogleAuthError as exc:
        raise Unavailable(f"{doing}: the pool's credential does not work: {session.error_text(exc)}") from exc
    except RequestException as exc:
        raise Unavailable(f"{doing}: Google cannot be reached: {type(exc).__name__}") from exc
