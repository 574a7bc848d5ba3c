"""What dispatching costs: runs a minute and latency, beside a bare claim-and-spawn loop on the same database.

`python benchmarks/dispatch.py [--runs N] [--json]`. Every run is the program `true`, started by a launcher that does
nothing else, so that what is measured is the dispatcher. The limit is a loop that claims a run in one statement, starts
`true`, waits for it, and notes the end: no leases, no request stored, no log, no history, no recovery.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolform.core.dispatch.worker import Worker
from poolform.core.runs.launchers import Job, JobStatus, Launcher, LogPage
from poolform.core.store import pools, runs
from poolform.core.store.database import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolform.core.store.pools import WorkPool
    from poolform.core.store.runs import FlowRun

BUDGET = {"runs_a_minute": 2000, "noticed_ms": 30, "idle_cpu_percent": 2.0}


class Bare(Launcher):
    """Starts programs, remembers nothing: the cheapest launcher that there can be."""

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def launch(self, job: Job) -> str:
        """Start a program."""
        process = self.running[job.key] = subprocess.Popen(job.command, stdin=subprocess.DEVNULL)
        threading.Thread(target=self.reap, args=(process,), daemon=True).start()
        return job.key

    def reap(self, process: subprocess.Popen[bytes]) -> None:
        """Ring when it has ended."""
        process.wait()
        os.write(self.writer, b"!")

    def fileno(self) -> int:
        """Return what is readable after a ring."""
        return self.reader

    def find(self, key: str) -> str | None:
        """Return the job that this process has started."""
        return key if key in self.running else None

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Return how they are."""
        with suppress(BlockingIOError):
            os.read(self.reader, 1 << 16)
        codes = {handle: self.running[handle].poll() for handle in handles}
        return {handle: JobStatus("running" if code is None else "exited", code) for handle, code in codes.items()}

    def logs(self, handle: str, cursor: Any) -> LogPage:
        """Return nothing."""
        return LogPage((), None, done=True)

    def cancel(self, handle: str) -> None:
        """Stop it."""
        self.running[handle].terminate()

    def remove(self, handle: str) -> None:
        """Forget it."""
        self.running.pop(handle, None)


def build_job(_pool: WorkPool, _deployment: object, run: FlowRun) -> Job:
    """Return the job that does nothing."""
    return Job(key=run.key, name=run.name, command=("true",), configuration={})


def prepared(folder: Path, name: str) -> tuple[Store[Any], WorkPool]:
    """Return a new store with one pool that is ready."""
    store = open_store(f"sqlite:///{folder / name}.db")
    with store.write() as tx:
        return store, pools.create(
            tx, name="bench", type="process", plugin="bench", plugin_version="0", state="ready", concurrency_limit=8
        )


def submit(store: Store[Any], pool: WorkPool, count: int) -> None:
    """Submit `count` runs, due now."""
    with store.write() as tx:
        for _ in range(count):
            runs.submit(tx, pool=pool, flow_name="bench")


def limit(folder: Path, count: int) -> float:
    """Return how many seconds a loop takes that does nothing but what cannot be left out."""
    store, pool = prepared(folder, "limit")
    submit(store, pool, count)
    started = time.perf_counter()
    while True:
        with store.write() as tx:
            rows = tx.execute(
                "UPDATE flow_runs SET state = 'running', started_at = :now WHERE id = (SELECT id FROM flow_runs "
                "WHERE state = 'scheduled' ORDER BY scheduled_at LIMIT 1) RETURNING id",
                {"now": tx.now()},
            )
        if not rows:
            return time.perf_counter() - started
        subprocess.run(("true",), check=True, stdin=subprocess.DEVNULL)
        with store.write() as tx:
            tx.execute(
                "UPDATE flow_runs SET state = 'completed', ended_at = :now WHERE id = :id",
                {"now": tx.now(), "id": rows[0]["id"]},
            )


def measure(folder: Path, count: int) -> dict[str, float]:
    """Return what the dispatcher does: with `count` runs waiting, with one at a time, and with none."""
    store, pool = prepared(folder, "dispatch")
    submit(store, pool, count)
    worker = Worker(store, lambda _: Bare(), build_job)
    thread = threading.Thread(target=worker.run)
    started, cpu = time.perf_counter(), time.process_time()
    thread.start()
    while unfinished(store):
        time.sleep(0.02)
    took, burnt = time.perf_counter() - started, time.process_time() - cpu
    time.sleep(0.5)
    noticed, whole = [], []
    for _ in range(30):
        submit(store, pool, 1)
        while unfinished(store):
            time.sleep(0.002)
        with store.read() as tx:
            run = runs.list_recent(tx, limit=1)[0]
        noticed.append(((run.claimed_at or 0) - run.created_at) * 1000)
        whole.append(((run.ended_at or 0) - run.created_at) * 1000)
        time.sleep(0.05)
    idle = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(3)
    now = resource.getrusage(resource.RUSAGE_SELF)
    worker.stop()
    thread.join()
    return {
        "runs_a_minute": 60 * count / took,
        "cpu_ms_a_run": 1000 * burnt / count,
        "noticed_ms": statistics.median(noticed),
        "submit_to_completed_ms": statistics.median(whole),
        "idle_cpu_percent": 100 * (now.ru_utime + now.ru_stime - idle.ru_utime - idle.ru_stime) / 3,
    }


def unfinished(store: Store[Any]) -> bool:
    """Say whether a run waits, goes on, or has left something behind."""
    with store.read() as tx:
        sql = "SELECT EXISTS (SELECT 1 FROM flow_runs WHERE state = 'scheduled' OR worker_id IS NOT NULL) AS some"
        return bool(tx.execute(sql)[0]["some"])


def main() -> None:
    """Measure and print; exit 1 when a budget is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bare = 60 * options.runs / limit(Path(folder), options.runs)
        found = measure(Path(folder), options.runs)
    missed = [
        name
        for name, bound in BUDGET.items()
        if (found[name] < bound if name == "runs_a_minute" else found[name] > bound)
    ]
    if options.json:
        print(json.dumps({"limit_runs_a_minute": bare, **found, "budget": BUDGET, "missed": missed}))
    else:
        print(f"{'bare claim-and-spawn loop':32} {bare:9.0f} runs a minute (the limit)")
        print(f"{'dispatcher':32} {found['runs_a_minute']:9.0f} runs a minute (budget {BUDGET['runs_a_minute']})")
        print(f"{'':32} {found['cpu_ms_a_run']:9.1f} ms of CPU a run")
        print(f"{'new work noticed after':32} {found['noticed_ms']:9.1f} ms (budget {BUDGET['noticed_ms']})")
        print(f"{'one run, submitted to completed':32} {found['submit_to_completed_ms']:9.1f} ms")
        print(f"{'idle worker':32} {found['idle_cpu_percent']:9.2f} % of a core (budget {BUDGET['idle_cpu_percent']})")
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
