"""Jobs as containers: started once for each key, watched with one question, explained in words."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from poolform.core.runs.launchers import JobStatus, Launcher, LaunchRefused, LogPage, Unavailable
from poolform.provisioners.docker import output
from poolform.provisioners.docker.container import KEPT_LABEL, POOL_LABEL, QUIET_LABEL, name_of, request_for
from poolform.provisioners.docker.engine import asking, explanation, refusal
from poolform.provisioners.docker.images import Images
from poolform.provisioners.docker.status import RUNNING, never_started, status_of
from poolform.provisioners.process.strings import STRING_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolform.core.runs.launchers import Job, Json
    from poolform.provisioners.docker.container import Request
    from poolform.provisioners.docker.engine import Engine

GRACE = 30.0
"""Seconds between asking a job to stop and killing it."""
STALE = 10.0
"""Seconds after which a container that was made and not started never will be: whoever made it was cut off."""
_MAKING = 10.0  # seconds that an engine may take to make a container, busy as it may be
_SHORT = 0.5  # seconds to wait for the answer to a stop, which only comes when the job has ended


class DockerLauncher(Launcher):
    """Starts jobs on one engine. A job's handle is its container's name, which the engine lets only one have.

    Secrets are plain: an engine without a swarm keeps none apart, so they travel as environment, and whoever may use
    the engine can read them with `docker inspect`. They are never words of a command.
    """

    remembers: ClassVar[timedelta] = timedelta.max
    secrets: ClassVar[Literal["native", "plain", "none"]] = "plain"
    payload_limit: ClassVar[int | None] = STRING_LIMIT  # the parameters, one string, may be nearly all of a payload

    def __init__(self, engine: Engine, pool_id: str, *, grace: float = GRACE, stale: float = STALE) -> None:
        self._engine, self._pool_id, self._grace, self._stale = engine, pool_id, grace, stale
        self._images = Images(engine)

    def launch(self, job: Job) -> str:
        """Make the job's container and start it, unless there is one of its name."""
        request = request_for(job, self._pool_id)
        name = name_of(job.key)
        if self._inspect(name) is None:
            self._images.provide(request.image, request.pull_policy, request.options.get("platform"))
        deadline = time.monotonic() + self._stale + _MAKING
        while True:
            # More than once if somebody took a stale container of ours away, or we one of theirs; and while the engine
            # is making theirs: it takes the name first, and knows of no such container until it is done.
            made = self._make(request)
            started = self._is_started(name) if made is None else self._start(made, request)
            if started:
                return name
            if time.monotonic() > deadline:
                raise Unavailable(f"launching: the container {name} comes and goes")
            time.sleep(0.05)

    def find(self, key: str) -> str | None:
        """Look for the container; one that was never started is taken away, as nobody will start it any more."""
        name = name_of(key)
        container = self._inspect(name)
        if container is None:
            return None
        if never_started(container):
            if not self._is_stale(container):
                raise Unavailable(f"the container {name} was made a moment ago, and is not started yet")
            self._remove(container["Id"])  # which the engine refuses to where somebody just started it
            return name if self._inspect(name) is not None else None
        return name

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Ask once for all that run, and for each that does not how it ended."""
        if not handles:
            return {}
        states = {name.lstrip("/"): container["State"] for container in self._all() for name in container["Names"]}
        found: dict[str, JobStatus] = {}
        for handle in handles:
            if states.get(handle) in RUNNING:
                found[handle] = JobStatus("running")
            elif handle in states and (container := self._inspect(handle)) is not None:
                found[handle] = status_of(container)
        return found

    def logs(self, handle: str, cursor: Json) -> LogPage:
        """Read on from the time stamp that `cursor` says."""
        container = self._inspect(handle)  # before reading: what is written after this is on the next page
        if container is None:
            return LogPage((), cursor, done=True)
        ended = status_of(container).state == "exited"
        with asking("reading output"):
            api = self._engine.client.api
            asked: dict[str, Any] = {"stdout": 1, "stderr": 1, "timestamps": 1, "since": output.since(cursor)}
            # docker-py's own way to read logs does not say which of the two streams a piece of a line is from.
            with api.get(_url(api, container["Id"], "logs"), params=asked, stream=True, timeout=api.timeout) as answer:
                if answer.status_code >= 400:  # a log driver that cannot be read, or the container has just gone
                    return LogPage((), cursor, done=ended)
                found = output.entries(answer.iter_content(64 * 1024))
                quiet = QUIET_LABEL in container["Config"]["Labels"]
                return output.page(found, cursor, ended=ended, only_ours=quiet)

    def cancel(self, handle: str) -> None:
        """Have the engine stop the container: SIGTERM, then SIGKILL after a while. It goes on when we have gone."""
        from requests.exceptions import ReadTimeout

        with asking("stopping a container"), suppress(ReadTimeout):
            api = self._engine.client.api
            answer = api.post(
                _url(api, handle, "stop"), params={"t": round(self._grace)}, timeout=(api.timeout, _SHORT)
            )
            if answer.status_code >= 500:
                raise Unavailable(f"stopping a container: {answer.text.strip()}")

    def remove(self, handle: str) -> None:
        """Remove the container with its anonymous volumes, unless it is to be kept."""
        container = self._inspect(handle)
        if container is not None and KEPT_LABEL not in container["Config"]["Labels"]:
            self._remove(container["Id"], force=True)

    def remove_all(self) -> None:
        """Stop all containers of the pool, wait for them as long as one may take, and remove them."""
        handles = [container["Names"][0].lstrip("/") for container in self._all()]
        for handle in handles:
            self.cancel(handle)
        deadline = time.monotonic() + self._grace + 5
        while any(status.state == "running" for status in self.poll(handles).values()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for container in self._all():
            self._remove(container["Id"], force=True)

    def close(self) -> None:
        """Close the connection to the engine."""
        self._engine.close()

    # -- making and starting -------------------------------------------------------------------------------------

    def _make(self, request: Request) -> str | None:
        """Make the container and return its id; None where its name is taken."""
        from docker.errors import APIError

        client = self._engine.client
        with asking("making a container", refusing=True):
            try:
                made = str(client.containers.create(request.image, **request.options).id)
            except APIError as exc:
                if exc.status_code == 409:
                    return None
                raise
            except TypeError as exc:  # docker-py names the option that it does not know
                raise LaunchRefused(f"container_create_kwargs: {exc}") from exc
        try:
            with asking("joining a network", refusing=True):
                for network in request.more_networks:
                    client.api.connect_container_to_network(made, network)
        except LaunchRefused:
            self._remove(made)
            raise
        return made

    def _start(self, made: str, request: Request) -> bool:
        """Start a container of ours; False where somebody took it away. Raises LaunchRefused, and removes it then."""
        from docker.errors import APIError

        with asking("starting a container"):
            try:
                self._engine.client.api.start(made)
            except APIError as exc:
                text = explanation(exc)
                if "no such container" in text.lower() or "marked for removal" in text.lower():
                    return False
                self._remove(made)
                raise _unstartable(text, request) from exc
        return True

    def _is_started(self, name: str) -> bool:
        """Wait for whoever made this container to start it; False where they do not, and it is gone."""
        while (container := self._inspect(name)) is not None and never_started(container):
            if self._is_stale(container):
                self._remove(container["Id"])
            time.sleep(0.05)
        return container is not None

    def _is_stale(self, container: Mapping[str, Json]) -> bool:
        """Say whether a container is older, by the engine's clock, than starting it could take."""
        with asking("asking the engine for the time"):
            now = _moment(self._engine.client.info()["SystemTime"])
        return now - _moment(container["Created"]) > self._stale

    def _all(self) -> list[dict[str, Any]]:
        with asking("asking for containers"):
            filters = {"label": f"{POOL_LABEL}={self._pool_id}"}
            found: list[dict[str, Any]] = self._engine.client.api.containers(all=True, filters=filters)
        return found

    def _inspect(self, name: str) -> Mapping[str, Json] | None:
        from docker.errors import NotFound

        with asking("asking for a container"):
            try:
                found: Mapping[str, Json] = self._engine.client.api.inspect_container(name)
            except NotFound:
                return None
        return found

    def _remove(self, container: str, *, force: bool = False) -> None:
        from docker.errors import APIError

        with asking("removing a container"):
            try:
                self._engine.client.api.remove_container(container, v=True, force=force)
            except APIError as exc:
                if exc.status_code not in (404, 409):  # gone; going, or running
                    raise


def _url(api: Any, container: str, verb: str) -> str:
    return f"{api.base_url}/v{api.api_version}/containers/{container}/{verb}"


def _unstartable(text: str, request: Request) -> Exception:
    program = next(iter(request.options["command"]), "the program")
    if "exec:" in text and ("no such file" in text or "not found in $PATH" in text):
        return LaunchRefused(f"There is no program {program} in the image {request.image}.")
    return refusal("starting a container", text)


def _moment(stamp: str) -> float:
    """Return seconds since the epoch of the engine's time, whose fraction has any number of digits."""
    head, _, fraction = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{fraction[:6]:0<6}+00:00").timestamp()
