"""Launching several jobs: one after the other, or as many at once as a launcher allows."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolform.core.clock import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from poolform.core.dispatch.tasks import Task


@dataclass(frozen=True)
class Attempt:
    """How one launch went: the job's handle, or what was raised. `at` is the store's time before it."""

    task: Task
    at: float
    seconds: float
    outcome: str | BaseException


def attempts(launch: Callable[[Task], str], tasks: Iterable[tuple[Task, float]], threads: int) -> Iterator[Attempt]:
    """Launch tasks, each given with the store's time, and yield how each went, as they end.

    A task is taken only when it can be launched at that very moment, so that whoever gives them may stop doing so. Who
    stops listening waits for those that are under way: they are launched again later, which changes nothing.
    """
    if threads <= 1:
        for task, at in tasks:
            yield _attempt(launch, task, at)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="launch") as pool:
        under_way: set[Future[Attempt]] = set()
        for task, at in tasks:
            under_way.add(pool.submit(_attempt, launch, task, at))
            if len(under_way) == threads:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
        yield from (one.result() for one in as_completed(under_way))


def _attempt(launch: Callable[[Task], str], task: Task, at: float) -> Attempt:
    started = clock()
    outcome: str | BaseException
    try:
        outcome = launch(task)
    except BaseException as exc:  # noqa: BLE001 - the answer of a launcher, or a plugin's mistake
        outcome = exc
    return Attempt(task, at, clock() - started, outcome)
