"""Jobs as Modal Sandboxes: named after their keys, watched one by one, their output fetched by time."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from poolform.core.runs.launchers import JobStatus, Launcher, LaunchRefused, LogPage, NoCapacity, Unavailable
from poolform.provisioners.docker import output
from poolform.provisioners.modal import sandbox, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from poolform.core.runs.launchers import Job, Json
    from poolform.provisioners.modal.tokens import Token

SETTLE = 5.0
"""Seconds without a new line after a job's end for which more are waited for: logs come by another way than ends."""
_EARLIER = timedelta(seconds=2)  # Modal counts lines in buckets of two seconds
_OLDEST = timedelta(days=1, hours=1)  # no Sandbox lives longer than a day
_STREAMS = {"stdout": 1, "stderr": 2}


class ModalLauncher(Launcher):
    """Starts Sandboxes in one app. A job's handle is its Sandbox's id.

    Modal lets no two Sandboxes of an app that run have one name, and finds the last one of a name when it has ended.
    """

    remembers: ClassVar[timedelta] = timedelta(hours=24)
    secrets: ClassVar[Literal["native", "plain", "none"]] = "plain"
    payload_limit: ClassVar[int | None] = sandbox.LIMIT

    def __init__(
        self, token: Callable[[], Token], app: str, environment: str | None, *, settle: float = SETTLE
    ) -> None:
        self._token, self._app_name, self._environment, self._settle = token, app, environment, settle
        self._client: Any = None
        self._app: Any = None
        self._removed: set[str] = set()

    def launch(self, job: Job) -> str:
        """Make the Sandbox, unless there is or was one of its name."""
        options = sandbox.options(job, self._app_name.rpartition("-")[2])
        known = self.find(job.key)
        if known is not None:
            return known
        modal = tokens.load()
        with _asking("launching", refusing=True):
            try:
                made = modal.Sandbox.create(
                    *job.command,
                    app=self._there(),
                    image=modal.Image.from_registry(job.configuration["image"]),
                    secrets=[modal.Secret.from_dict(dict(job.secrets))] if job.secrets else [],
                    client=self._client,
                    **options,
                )
            except modal.exception.AlreadyExistsError:
                made = None
        if made is not None:
            return _handle(made)
        known = self.find(job.key)
        if known is None:
            raise Unavailable("launching: Modal says that the Sandbox exists, and does not find it")
        return known

    def find(self, key: str) -> str | None:
        """Look for the Sandbox by its name, among those that have ended, too."""
        modal = tokens.load()
        self._there()
        with _asking("looking for a Sandbox"):
            try:
                found = modal.Sandbox.from_name(
                    self._app_name,
                    sandbox.name_of(key),
                    environment_name=self._environment,
                    include_terminated=True,
                    client=self._client,
                )
            except modal.exception.NotFoundError:
                return None
        return _handle(found)

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Ask for each Sandbox: Modal has no question for several."""
        found: dict[str, JobStatus] = {}
        for handle in handles:
            there = None if handle in self._removed else self._sandbox(handle)
            if there is not None:
                with _asking("asking for a Sandbox"):
                    code = there.poll()
                found[handle] = (
                    JobStatus("running") if code is None else JobStatus("exited", code, sandbox.reason(code))
                )
        return found

    def logs(self, handle: str, cursor: Json) -> LogPage:
        """Fetch what came since the time that `cursor` says.

        Done once the job has ended and nothing came for a while.
        """
        there = self._sandbox(handle)
        if there is None:
            return LogPage((), cursor, done=True)
        with _asking("asking for a Sandbox"):
            ended = there.poll() is not None
        at = {"at": cursor["at"], "seen": cursor["seen"]} if cursor and cursor["at"] else None
        entries = _entries(there, _moment(at["at"]) if at else datetime.now(UTC) - _OLDEST)
        quiet = (cursor or {}).get("quiet")
        late = ended and quiet is not None and time.time() - quiet >= self._settle
        found = output.page(entries, at, ended=late)
        moved = bool(found.lines) or found.cursor != at
        still = None if not ended or moved else quiet or time.time()
        return LogPage(found.lines, {**(found.cursor or {"at": "", "seen": 0}), "quiet": still}, late and not moved)

    def cancel(self, handle: str) -> None:
        """Have Modal terminate the Sandbox."""
        there = self._sandbox(handle)
        if there is not None:
            with _asking("terminating a Sandbox"):
                there.terminate()

    def remove(self, handle: str) -> None:
        """Forget an ended Sandbox; Modal keeps its record and its output for a while, and then forgets them itself."""
        self.cancel(handle)
        self._removed.add(handle)

    def remove_all(self) -> None:
        """Terminate the pool's Sandboxes, and stop its app."""
        modal = tokens.load()
        app = self._there()
        with _asking("stopping the app"):
            for there in modal.Sandbox.list(app_id=app.app_id, client=self._client):
                there.terminate()
            app.stop(client=self._client)

    def close(self) -> None:
        """Close the connection; jobs go on."""
        if self._client is not None:
            self._client.close()
        self._client = self._app = None

    def _there(self) -> Any:
        """Return the pool's app, made on first use."""
        if self._app is None:
            modal = tokens.load()
            with _asking("reaching Modal"):
                token = self._token()
                self._client = modal.Client.from_credentials(token.id, token.secret)
                self._app = modal.App.lookup(
                    self._app_name, client=self._client, environment_name=self._environment, create_if_missing=True
                )
        return self._app

    def _sandbox(self, handle: str) -> Any:
        """Return a Sandbox by its handle; None where Modal does not know it any more."""
        modal = tokens.load()
        self._there()
        with _asking("asking for a Sandbox"):
            try:
                return modal.Sandbox.from_id(handle, client=self._client)
            except modal.exception.NotFoundError:
                return None


@contextmanager
def _asking(doing: str, *, refusing: bool = False) -> Iterator[None]:
    """Turn what the SDK raises into Unavailable; `refusing`, what Modal will never do into LaunchRefused."""
    errors = tokens.load().exception
    try:
        yield
    except errors.ResourceExhaustedError as exc:
        if refusing:
            raise NoCapacity(f"{doing}: {exc}") from exc
        raise Unavailable(f"{doing}: {exc}") from exc
    except (errors.InvalidError, errors.RemoteError) as exc:
        if refusing:
            raise LaunchRefused(f"{doing}: {exc}") from exc
        raise Unavailable(f"{doing}: {exc}") from exc
    except (errors.Error, OSError) as exc:
        raise Unavailable(f"{doing}: {exc}") from exc


def _entries(there: Any, since: datetime) -> list[output.Entry]:
    """Return a Sandbox's output since a moment, as entries of a log."""
    modal = tokens.load()
    with _asking("fetching output"):
        try:
            found = list(there.logs.fetch(since=since - _EARLIER, until=datetime.now(UTC)))
        except modal.exception.ExecutionError:  # it is not placed yet, so it has printed nothing
            return []
    return [output.Entry(_STREAMS.get(one.source, 3), _stamp(one.timestamp), one.message.encode()) for one in found]


def _status(code: int | None) -> JobStatus:
    return JobStatus("running") if code is None else JobStatus("exited", code, sandbox.reason(code))


def _handle(there: Any) -> str:
    """Return a Sandbox's id. Made from the same Sandbox, it is the same, whoever asks and whenever."""
    return str(there.object_id)


def _stamp(moment: datetime) -> str:
    """Return a time as text that sorts as times do."""
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z"


def _moment(stamp: str) -> datetime:
    return datetime.fromisoformat(f"{stamp[:26]}+00:00")
