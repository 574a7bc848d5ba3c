"""Recovering: what to do with runs whose worker died, by how far they had come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.core.dispatch.outcome import Event
from poolform.core.dispatch.tasks import Stage, Task
from poolform.core.store import leases, logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.dispatch.tasks import Tasks
    from poolform.core.store.database import Transaction
    from poolform.core.store.leases import Held


def recover(
    tasks: Tasks,
    pool_id: str,
    *,
    lease: float,
    until: float,
    queue_ids: Sequence[str] | None = None,
    most: int = 100,
) -> int:
    """Take over runs of a pool whose lease has expired and say how many; `until` is the lease's end, on `clock`."""
    with tasks.store.write(notify=False) as tx:
        found = leases.take_over(tx, pool_id, tasks.worker_id, lease=lease, queue_ids=queue_ids, most=most)
        taken = [resume(tx, held) for held in found]
    for task in taken:
        tasks.add(task, until)
    return len(taken)


def resume(tx: Transaction, held: Held) -> Task:
    """Return the task that goes on where a run's last owner stopped.

    - Claimed, but no request stored: nothing can have been launched; its job is made as if it had just been claimed.
    - A request stored, but no handle: it may have been launched, so the platform is asked, and what is launched then
      is that very request.
    - A handle: its job is watched on, its log read on from the stored cursor.
    - Ended, or failed with a retry to come: only what is left of the job is cleared away.
    """
    run = held.run
    task = Task(run, stage(held), held.request, cancel=run.cancel_requested)
    if run.log_cursor is not None:
        task.cursor = run.log_cursor["at"]
        task.last = Event(*run.log_cursor["last"]) if run.log_cursor["last"] else None
    if task.stage is Stage.FOLLOW:
        task.next_line = logs.last_seq(tx, run.id, run.attempt) + 1
    task.retry = task.stage is Stage.CLEAR and not run.ended
    return task


def stage(held: Held) -> Stage:
    """Say what has to be done next for a run that was taken over."""
    run = held.run
    if run.ended:
        return Stage.CLEAR
    if run.handle is None:
        return Stage.BUILD if held.request is None else Stage.ASK
    # Only an attempt that is settled as "failed, to be retried" has its log complete and yet has not ended.
    return Stage.CLEAR if run.logs_done and run.exit_code is not None else Stage.FOLLOW
