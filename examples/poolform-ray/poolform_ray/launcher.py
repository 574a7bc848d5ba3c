"""Runs jobs on a Ray cluster by its Jobs API: a job's submission id is its key, so that Ray itself starts it once.

What is said here of Ray is in its documentation (https://docs.ray.io/en/latest/cluster/running-applications/
job-submission/sdk.html) and, where that is silent, in the code of `ray.dashboard.modules.job`.
"""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from poolform import JobStatus, Launcher, LaunchRefused, LogLine, LogPage, Unavailable

# Ray keeps the entrypoint in the log and expands `$` in variables, so both are the same for all, and plain: the command
# and its environment come along in one variable, in base64.
ENTRYPOINT = (
    'exec python -c "import base64, json, os; '
    "exec(json.loads(base64.b64decode(os.environ['POOLFORM_JOB']))['start'])\""
)
START = Path(__file__).with_name("start.py").read_text(encoding="utf-8")
# Lines of Ray's own in a job's log; the second may come in the middle of one of the job's.
_OURS = re.compile(
    r"^\d{4}-\d\d-\d\d [\d:,]+\s+INFO job_\w+\.py:\d+ -- [^\n]*\n"
    rf"|Running entrypoint for job \S+: {re.escape(ENTRYPOINT)}\n",
    re.MULTILINE,
)
_WATCHED = 30.0  # seconds after which nothing more comes back of a job that was removed
_LOST = 10.0  # seconds that the log of an ended job is asked for in vain: its node is gone, and the log with it


class Gone(Exception):
    """The cluster does not know the job."""


class RayLauncher(Launcher):
    """Submits jobs to the cluster whose dashboard is at `address`."""

    secrets = "plain"  # Ray has no other way than the environment, and shows that to whoever may see the dashboard
    payload_limit = (
        80_000  # in base64 it must fit into one variable, and once more into Ray's copy: Linux takes 128 KiB
    )

    def __init__(self, address: str) -> None:
        self.address = address
        self._client: Any = None
        self._in_vain: dict[str, float] = {}  # job → since when its log cannot be had
        self._forgotten: dict[str, float] = {}  # job → when it was removed

    def prepare(self, job):
        """Note which life of the cluster the job is meant for: with its head, a cluster forgets its jobs."""
        return {"session": self._session()}

    def launch(self, job):
        """Submit a job. Its key is the submission id, which Ray takes once only."""
        request, size = payload(job)
        if size > self.payload_limit:
            raise LaunchRefused(
                f"its command and environment take {size:,} bytes, and Ray takes at most {self.payload_limit:,}"
            )
        if job.request and job.request["session"] != self._session():
            # The platform knows nothing of it, but did it before? Nobody can tell any more, and twice is worse.
            raise LaunchRefused("launch uncertain: the Ray cluster was started anew while it was launched")
        try:
            self._ask(lambda client: client.submit_job(submission_id=job.key, entrypoint=ENTRYPOINT, **request))
        except (ValueError, TypeError) as exc:  # the runtime environment makes no sense
            raise LaunchRefused(f"Ray does not take the job: {first_line(exc)}") from exc
        return job.key

    def find(self, key):
        """Return the job's id where the cluster knows it."""
        try:
            self._ask(lambda client: client.get_job_info(key))
        except Gone:
            return None
        return key

    def poll(self, handles):
        """Ask for all jobs at once."""
        if not handles:
            return {}
        wanted = set(handles)
        found = self._ask(lambda client: client.list_jobs())
        self._forget_again({job.submission_id for job in found})
        return {job.submission_id: status_of(job) for job in found if job.submission_id in wanted}

    def logs(self, handle, cursor):
        """Return what was printed since `cursor`, a number of characters: whole lines while the job lives, then all."""
        start = cursor or 0
        try:
            # Asked first: nothing is printed after the end.
            ended = self._ask(lambda client: client.get_job_info(handle)).status.is_terminal()
        except Gone:
            return LogPage((), start, done=True)
        try:
            text = self._ask(lambda client: client.get_job_logs(handle))
        except (Gone, Unavailable):
            since = self._in_vain.setdefault(handle, time.monotonic())
            return LogPage((), start, done=ended and time.monotonic() - since > _LOST)
        self._in_vain.pop(handle, None)
        text = _OURS.sub("", text)[start:]
        if not ended:
            text = text[: text.rfind("\n") + 1]
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        return LogPage([LogLine(line) for line in lines], start + len(text), done=ended)

    def cancel(self, handle):
        """Ask Ray to stop the job: it sends SIGTERM, and after three seconds SIGKILL."""
        with suppress(Gone):
            self._ask(lambda client: client.stop_job(handle))

    def remove(self, handle):
        """Have the cluster forget the job. Its log file stays on its node for as long as the cluster lives."""
        self._in_vain.pop(handle, None)
        self._forgotten[handle] = time.monotonic()
        with suppress(Gone):
            self._ask(lambda client: client.delete_job(handle))

    def close(self):
        """Clear away what has come back."""
        if self._forgotten:
            with suppress(Unavailable):
                self._forget_again({job.submission_id for job in self._ask(lambda client: client.list_jobs())})
        self._client = None

    def _forget_again(self, known):
        """Remove once more what came back: Ray's watch over a job, a second late, writes down that its actor died."""
        for handle, at in list(self._forgotten.items()):
            if handle in known:
                self.remove(handle)
            elif time.monotonic() - at > _WATCHED:
                del self._forgotten[handle]

    def _session(self) -> str:
        try:
            return reach(self.address).get("session_name") or ""
        except (OSError, ValueError) as exc:
            raise Unavailable(f"the Ray cluster at {self.address} does not answer: {first_line(exc)}") from exc

    def _ask(self, question):
        """Ask the cluster. Raises Gone, LaunchRefused for what it does not take, Unavailable where it cannot answer."""
        try:
            if self._client is None:
                from ray.job_submission import JobSubmissionClient

                self._client = JobSubmissionClient(self.address)
            return question(self._client)
        except OSError as exc:  # those of `requests` are, too
            self._client = None
            raise Unavailable(f"the Ray cluster at {self.address} does not answer: {type(exc).__name__}") from exc
        except RuntimeError as exc:  # how the client tells what the cluster has answered
            said = str(exc)
            if "already exists" in said:
                return None
            code = re.search(r"status code (\d+)", said)
            if code and code[1] == "404":
                raise Gone from exc
            if code and code[1] == "400":
                raise LaunchRefused(f"Ray does not take the job: {last_line(said)}") from exc
            raise Unavailable(f"the Ray cluster at {self.address} cannot answer: {last_line(said)}") from exc


def reach(address: str) -> dict[str, Any]:
    """Return what the cluster says of itself. Raises OSError, ValueError."""
    with urllib.request.urlopen(f"{address}/api/version", timeout=10) as answer:
        return json.load(answer)


def payload(job) -> tuple[dict[str, Any], int]:
    """Return how a job is submitted, and how many bytes its command and environment take."""
    wanted = job.configuration
    together = {"command": list(job.command), "env": {**job.env, **job.secrets}}
    size = len(json.dumps(list(together.values()), ensure_ascii=False).encode())
    carried = json.dumps({**together, "start": START}, ensure_ascii=False).encode()
    env = dict(wanted.get("runtime_env") or {})
    env["env_vars"] = {**(env.get("env_vars") or {}), "POOLFORM_JOB": base64.b64encode(carried).decode()}
    if wanted.get("pip_packages"):
        env["pip"] = list(wanted["pip_packages"])
    if wanted.get("image"):
        env["image_uri"] = wanted["image"]
    memory = wanted.get("memory")
    return {
        "runtime_env": env,
        "metadata": {"poolform-name": job.name, **job.labels},
        "entrypoint_num_cpus": wanted.get("cpu", 1),
        "entrypoint_num_gpus": wanted.get("gpu") or 0,
        "entrypoint_memory": memory * 1024**2 if memory else None,
        "entrypoint_resources": wanted.get("resources") or None,
    }, size


def status_of(job) -> JobStatus:
    """Return how a job of Ray's fares."""
    state = job.status.value
    if state == "PENDING":
        return JobStatus("starting")
    if state == "RUNNING":
        return JobStatus("running")
    if state == "SUCCEEDED":
        return JobStatus("exited", 0)
    if state == "STOPPED":
        return JobStatus("exited", None, "Ray stopped it")
    code = job.driver_exit_code
    if code is None:
        return JobStatus("exited", None, f"Ray: {first_line(job.message)}")
    return JobStatus("exited", code if code >= 0 else 128 - code)


def first_line(text: object) -> str:
    """Return enough of what Ray says to know what it is about."""
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return (lines[0] if lines else type(text).__name__)[:300]


def last_line(text: str) -> str:
    """Return the end of a traceback: what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
    return (lines[-1] if lines else text)[:300]
