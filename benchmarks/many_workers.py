"""One to four workers on one PostgreSQL: runs a minute, and latency under load.

`python benchmarks/many_workers.py [--runs N]`. The jobs do nothing and end at once, without a process, so that what is
measured is dispatching and the database. Every worker is a process of its own, all on this machine, with the server.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import postgresql
from dispatch import build_job

from poolform.core.dispatch.worker import Worker
from poolform.core.runs.launchers import Job, JobStatus, Launcher, LogPage
from poolform.core.store import pools, runs
from poolform.core.store.database import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolform.core.store.database import Store


class Nothing(Launcher):
    """Launches nothing; each job has ended by the time it is asked for."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self.writer, False)

    def launch(self, job: Job) -> str:
        """Ring: it has ended."""
        with suppress(BlockingIOError):
            os.write(self.writer, b"!")
        return job.key

    def fileno(self) -> int:
        """Return what is readable after a ring."""
        return self.reader

    def find(self, key: str) -> str | None:
        """Return the job: it was there."""
        return key

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Say that all have ended."""
        with suppress(BlockingIOError):
            os.read(self.reader, 1 << 16)
        return {handle: JobStatus("exited", 0) for handle in handles}

    def logs(self, handle: str, cursor: Any) -> LogPage:
        """Return nothing."""
        return LogPage((), None, done=True)

    def cancel(self, handle: str) -> None:
        """There is nothing to stop."""

    def remove(self, handle: str) -> None:
        """There is nothing to remove."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3000)
    parser.add_argument("--rate", type=float, help="Submissions a second for the latency; a quarter of the best rate.")
    parser.add_argument("--worker", metavar="URL", help="Be one of the workers.")
    options = parser.parse_args()
    if options.worker:
        Worker(open_store(options.worker), lambda _: Nothing(), build_job).run()
        return
    print("\nMany workers on one PostgreSQL", flush=True)
    server = postgresql.start()
    try:
        best: dict[int, Measured] = {}
        for _ in range(2):  # in turn, so that a machine with other work to do is unfair to none
            for workers in (1, 2, 3, 4):
                found = throughput(server, workers, options.runs)
                best[workers] = max(found, best.get(workers, found), key=lambda one: one.rate)
        for one in best.values():
            print(one, flush=True)
        print(f"  load: {' '.join(f'{load:.1f}' for load in os.getloadavg())}", flush=True)
        latency(f"{server['url']}/postgres", options.rate or max(one.rate for one in best.values()) / 60 / 4)
    finally:
        postgresql.stop(server)


@contextmanager
def working(url: str, count: int) -> Iterator[list[int]]:
    """Keep so many workers running meanwhile; yield their processes."""
    crew = [subprocess.Popen([sys.executable, __file__, "--worker", url]) for _ in range(count)]
    try:
        with open_store(url) as store:
            while number(store, "workers", "expires_at > extract(epoch FROM clock_timestamp())") < count:
                time.sleep(0.05)
        yield [one.pid for one in crew]
    finally:
        for one in crew:
            one.terminate()
        for one in crew:
            one.wait()


@dataclass(frozen=True)
class Measured:
    """What so many workers did, and the shares of a core that went where."""

    workers: int
    rate: float
    own: float
    server: float
    machine: float

    transactions: float

    def __str__(self) -> str:
        named = f"{self.workers} worker{'s' if self.workers > 1 else ' '}"
        shares = (
            f"each {self.own:.0f} % of a core, the server {self.server:.0f} %, the machine {self.machine:.0f} % busy"
        )
        return f"  {named}  {self.rate:9,.0f} runs a minute  ({shares}; {self.transactions:.2f} transactions a run)"


def throughput(server: dict[str, str], workers: int, count: int) -> Measured:
    """Return runs a minute of so many workers, and where the CPU went."""
    url = f"{server['url']}/postgres"
    with open_store(url) as store, working(url, workers) as pids:
        with store.write() as tx:
            tx.execute("DELETE FROM flow_runs")
            pool = pools.find(tx, "bench") or pools.create(
                tx, name="bench", type="process", plugin="bench", plugin_version="0", state="ready"
            )
            pools.update(tx, pool.id, paused=True)
            for _ in range(count):
                runs.submit(tx, pool=pool, flow_name="bench")
        with store.write() as tx:
            tx.execute("ANALYZE")
        before = (sum(map(cpu, pids)), server_cpu(server), machine_cpu(), commits(store))
        started = time.perf_counter()
        with store.write() as tx:
            pools.update(tx, pool.id, paused=False)
        while number(store, "flow_runs", "state <> 'completed' OR worker_id IS NOT NULL"):
            time.sleep(0.05)
        took = time.perf_counter() - started
        after = (sum(map(cpu, pids)), server_cpu(server), machine_cpu(), commits(store))
        with store.write() as tx:
            tx.execute("DELETE FROM workers")
    own, served, whole, committed = (now - then for then, now in zip(before, after, strict=True))
    shares = (100 * own / took / workers, 100 * served / took, 100 * whole / took / (os.cpu_count() or 1))
    return Measured(workers, 60 * count / took, *shares, committed / count)


def latency(url: str, rate: float) -> None:
    """Submit at half of the best rate, one by one, to four workers; print percentiles."""
    with open_store(url) as store, working(url, 4):
        with store.write() as tx:
            tx.execute("DELETE FROM flow_runs")
            pool = pools.get(tx, "bench")
        begun, seconds = time.perf_counter(), 20.0
        made = 0
        while (now := time.perf_counter() - begun) < seconds:
            if made < now * rate:
                with store.write() as tx:
                    runs.submit(tx, pool=pool, flow_name="bench")
                made += 1
            else:
                time.sleep(0.001)
        while number(store, "flow_runs", "state <> 'completed' OR worker_id IS NOT NULL"):
            time.sleep(0.05)
        with store.read() as tx:
            rows = tx.execute("SELECT created_at, claimed_at, submitted_at, ended_at FROM flow_runs")
    print(f"  four workers at {60 * made / seconds:,.0f} submissions a minute, ms at p50, p95, p99:")
    for what, column in (("claimed", "claimed_at"), ("launched", "submitted_at"), ("completed", "ended_at")):
        waited = sorted(1000 * (row[column] - row["created_at"]) for row in rows)
        p50, p95, p99 = (waited[min(len(waited) - 1, int(len(waited) * part))] for part in (0.5, 0.95, 0.99))
        print(f"    submitted to {what:<10} {p50:8.0f} {p95:8.0f} {p99:8.0f}", flush=True)


def number(store: Store[Any], table: str, condition: str) -> int:
    """Return how many rows there are."""
    with store.read() as tx:
        return int(tx.execute(f"SELECT count(*) AS n FROM {table} WHERE {condition}")[0]["n"])


def commits(store: Store[Any]) -> int:
    """Return how many transactions the server has ended."""
    with store.write() as tx:
        tx.execute("SELECT pg_stat_force_next_flush()")
    time.sleep(0.2)
    with store.read() as tx:
        sql = "SELECT xact_commit + xact_rollback AS n FROM pg_stat_database WHERE datname = current_database()"
        return int(tx.execute(sql)[0]["n"])


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def server_cpu(server: dict[str, str]) -> float:
    """Return the seconds of CPU that the server's processes have used; those that have ended left theirs with it."""
    # Its folder is another user's, so it is found by what it was started with.
    port = server["url"].rpartition(":")[2]
    found = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            words = stat.with_name("cmdline").read_bytes()
            parent = Path(f"/proc/{fields[1]}/cmdline")
            if f"port={port}".encode() in words:
                found += sum(map(int, fields[11:15]))
            elif words.startswith(b"postgres:") and f"port={port}".encode() in parent.read_bytes():
                found += sum(map(int, fields[11:13]))
    return found / os.sysconf("SC_CLK_TCK")


def machine_cpu() -> float:
    """Return the seconds of CPU that everybody on this machine has used."""
    user, nice, system, *_ = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
