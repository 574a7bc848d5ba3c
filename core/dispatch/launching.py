"""From a claimed run to its job: build, store the request, launch, store the handle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from poolform.core.clock import clock
from poolform.core.dispatch import answers
from poolform.core.dispatch.attempts import attempts
from poolform.core.dispatch.tasks import Backoff, Stage, Task
from poolform.core.errors import PoolformError
from poolform.core.pools.catalogue import reason
from poolform.core.runs.launchers import Job, LaunchRefused, NoCapacity, Prepares, Unavailable, Unknowable
from poolform.core.store import deployments, leases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from poolform.core.dispatch.attempts import Attempt
    from poolform.core.dispatch.tasks import Tasks
    from poolform.core.runs.launchers import Launcher
    from poolform.core.store.deployments import Deployment
    from poolform.core.store.pools import WorkPool
    from poolform.core.store.runs import FlowRun

    JobBuilder = Callable[[WorkPool, Deployment | None, FlowRun], Job]

UNCERTAIN = "launch uncertain: launching it was interrupted, and {} cannot say any more whether a job was started"
NEVER = "cancelled before it was launched"
_FIRST_LOOK = 0.1  # seconds after a launch, to see the job running; a job that ends before is news in itself
_FLUSH = 0.25  # seconds of launching after which the handles so far are stored


class Seal(Protocol):
    """Encrypts requests that hold secrets: the store keeps no secret in clear."""

    def seal(self, text: str) -> str:
        """Return `text` encrypted."""

    def unseal(self, token: str) -> str:
        """Return what `seal` was given. Raises PoolformError when the key is not here."""


class Launching:
    """The launching half of a supervisor. One thread; every method may raise StoreError and be called again.

    It is never the main thread, so that an interrupt there is a plugin's own, like an exit: a mistake as any other.
    """

    def __init__(
        self, tasks: Tasks, pool: WorkPool, launcher: Launcher, build_job: JobBuilder, seal: Seal | None
    ) -> None:
        self.tasks, self.pool, self.launcher, self.build_job, self._seal = tasks, pool, launcher, build_job, seal
        self.backoff = Backoff(30.0)
        """Set while the platform can't be asked; shared with the other half."""
        self.no_room = Backoff(60.0)
        """Set while the platform has no room."""
        self._complained = Backoff(60.0)  # set while there is no need to complain again
        self.pace = 0.01
        """Seconds that one launch takes, about."""

    def build(self) -> None:
        """Make the jobs of newly claimed runs and store their requests, all in one transaction."""
        fresh = self.tasks.at(Stage.BUILD)
        if not fresh or self.backoff.waiting:
            return
        with self.tasks.store.read() as tx:
            now = tx.now()
            known = {
                key: deployments.by_id(tx, key) for key in {task.run.deployment_id for task in fresh} if key is not None
            }
        made: list[tuple[Task, str]] = []
        for task in fresh:
            try:
                made.append((task, self._request(known.get(task.run.deployment_id or ""), task.run)))
            except Unavailable as exc:
                self.unavailable(exc)
                break
            except (PoolformError, LaunchRefused) as exc:
                self.end(task, "crashed", now, _sentence(exc))
            except BaseException as exc:  # noqa: BLE001 - a plugin's mistake, or its exit, ends one run, not the worker
                self.end(task, "crashed", now, f"its job could not be made: {reason(exc)}")
        self.tasks.save()
        if made:
            self._store(made)

    def ask(self) -> None:
        """Ask the platform about runs whose last owner may have launched them."""
        for task in self.tasks.at(Stage.ASK):
            if self.backoff.waiting:
                return
            with self.tasks.store.read() as tx:
                now, cancelled = tx.now(), leases.cancel_requested(tx, task.run)
            try:
                handle = self._find(task, now)
            except Unavailable as exc:
                self.unavailable(exc)
                return
            except Unknowable:
                self.end(task, "crashed", now, UNCERTAIN.format(self.pool.type))
            except BaseException as exc:  # noqa: BLE001 - it does not know, for whatever reason
                self.end(task, "crashed", now, f"launch uncertain: {reason(exc)}")
            else:
                self.backoff.succeed()
                if handle is not None:
                    self._launched(task, handle, now)
                elif cancelled:
                    self.end(task, "cancelled", now, NEVER)
                else:
                    task.stage = Stage.LAUNCH
        self.tasks.save()

    def launch(self) -> None:
        """Launch what is ready to be, as many at once as the launcher allows, storing handles as they come."""
        flushed, ready = clock(), self.tasks.at(Stage.LAUNCH)
        threads = max(1, min(self.launcher.threads, len(ready)))
        for attempt in attempts(self._start, self._launchable(ready), threads):
            self._take(attempt)
            self.pace = 0.8 * self.pace + 0.2 * attempt.seconds / threads
            if clock() - flushed > _FLUSH:
                self.tasks.save()
                flushed = clock()
        self.tasks.save()

    def end(self, task: Task, state: str, at: float, reason: str | None) -> None:
        """Note how a run without a job ended."""
        task.enter(state, at, reason, ended_at=at, logs_done=True)  # type: ignore[arg-type]
        task.stage = Stage.CLEAR

    def _request(self, deployment: Deployment | None, run: FlowRun) -> str:
        job = self.build_job(self.pool, deployment, run)
        if job.secrets and self.launcher.secrets == "none":
            raise LaunchRefused(
                f"{self.pool.type} has no way to hand secrets to a job: {', '.join(sorted(job.secrets))}"
            )
        if job.secrets and self._seal is None:
            raise LaunchRefused("its job has secrets, and this worker has no key to store them encrypted")
        limit, size = self.launcher.payload_limit, payload_size(job)
        if limit is not None and size > limit:
            raise LaunchRefused(
                f"its command and environment take {size:,} bytes, and {self.pool.type} takes at most {limit:,}"
            )
        if isinstance(self.launcher, Prepares):
            job = Job(**{**vars(job), "request": self.launcher.prepare(job)})
        text = job.to_json()
        return json.dumps({"sealed": self._seal.seal(text)}) if job.secrets and self._seal else text

    def _store(self, made: list[tuple[Task, str]]) -> None:
        with self.tasks.store.write(notify=False) as tx:
            now = tx.now()
            results = [leases.store_request(tx, task.run, request) for task, request in made]
        for (task, request), result in zip(made, results, strict=True):
            if result == "stored":
                task.request, task.stage = request, Stage.LAUNCH
            elif result == "cancelled":
                self.end(task, "cancelled", now, NEVER)
            else:
                self.tasks.drop(task)

    def _job(self, task: Task) -> Job:
        assert task.request is not None
        text = task.request
        if text.startswith(leases.SEALED):
            if self._seal is None:
                raise LaunchRefused("its job has secrets, and this worker has no key to read them")
            text = self._seal.unseal(json.loads(text)["sealed"])
        return Job.from_json(text)

    def _find(self, task: Task, now: float) -> str | None:
        """Ask for a job by its key. Raises Unknowable where None could not be trusted any more."""
        handle = self._sought(task)
        if handle is None and now - (task.run.claimed_at or 0.0) > self.launcher.remembers.total_seconds():
            raise Unknowable
        return handle

    def _sought(self, task: Task) -> str | None:
        found = self.launcher.find(task.run.key)
        return None if found is None else answers.handle(found)

    def _launchable(self, ready: Sequence[Task]) -> Iterator[tuple[Task, float]]:
        """Yield what may be launched now, for as long as the platform can be asked; end what was cancelled."""
        for task in ready:
            if self.backoff.waiting:
                return
            if task.cancel:
                self.end(task, "cancelled", self.tasks.store.now(), NEVER)
            elif self.tasks.owned(task):  # else the lease ran out while this worker stood still: it may be another's
                yield task, self.tasks.store.now()

    def _start(self, task: Task) -> str:
        """Launch one job. Runs in one of several threads: it changes nothing here."""
        return answers.handle(self.launcher.launch(self._job(task)))

    def _take(self, attempt: Attempt) -> None:
        """Note how a launch went."""
        task = attempt.task
        match attempt.outcome:
            case str(handle):
                self.backoff.succeed()
                self.no_room.succeed()
                self._launched(task, handle, attempt.at)
            case Unavailable() as exc:
                # It may have been launched. Asking first, next time, also notices when that can't be known any more.
                task.stage = Stage.ASK
                self.unavailable(exc)
            case NoCapacity() as exc:
                self._put_back(task, exc)
            case LaunchRefused() | PoolformError() as exc:
                self.end(task, "crashed", attempt.at, _sentence(exc))
            case mistake:
                self._mistaken(task, mistake, attempt.at)

    def _mistaken(self, task: Task, mistake: BaseException, now: float) -> None:
        """Go on with a job that was started for all that the launcher raised what it must not; else end the run."""
        try:
            handle = self._sought(task)
        except BaseException:  # noqa: BLE001 - it does not know, for whatever reason
            handle = None
        said = self._said(mistake)
        if handle is not None:
            self.tasks.listener.trouble(self.pool.name, f"{said}, and says that it launched {task.run.name}.")
            self._launched(task, handle, now, f"{said}, and says that it launched the job")
        else:
            self.end(task, "crashed", now, f"launch uncertain: {said}")

    def _launched(self, task: Task, handle: str, now: float, reason: str | None = None) -> None:
        task.enter("submitted", now, reason, handle=handle, submitted_at=now)
        task.stage, task.request = Stage.FOLLOW, None
        task.look_at = task.logs_at = clock() + _FIRST_LOOK

    def _put_back(self, task: Task, exc: NoCapacity) -> None:
        pause = self.no_room.fail()
        with self.tasks.store.write() as tx:
            now = tx.now()
            result = leases.put_back(
                tx, task.run, attempt=task.run.attempt, at=now + pause, reason=f"no capacity: {_sentence(exc)}"
            )
        if result == "cancelled":
            self.end(task, "cancelled", now, NEVER)
        else:
            self.tasks.drop(task)

    def unavailable(self, exc: BaseException) -> None:
        """Wait before the platform is asked again."""
        pause = self.backoff.fail()
        self.tasks.listener.trouble(self.pool.name, f"{self._said(exc)}; asking again in {pause:.1f} s")

    def complain(self, exc: Exception) -> None:
        """Say now and then that an answer of one job cannot be used; the others' can."""
        if not self._complained.waiting:
            self._complained.fail()
            self.tasks.listener.trouble(self.pool.name, f"{self._said(exc)}; asking again")

    def _said(self, exc: BaseException) -> str:
        """Return what a launcher says, or whose mistake it is where it raised what it must not."""
        if isinstance(exc, Unavailable | Unknowable | LaunchRefused | NoCapacity | PoolformError):
            return _sentence(exc)
        by = f"the launcher of the plugin {self.pool.plugin} {self.pool.plugin_version}".rstrip()
        return f"{by} raised {reason(exc)}"


def payload_size(job: Job) -> int:
    """Return how many bytes a job's command and environment take, as JSON."""
    return len(json.dumps([job.command, dict(job.env)], ensure_ascii=False, separators=(",", ":")).encode())


def _sentence(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
