"""A storm: runs by the thousand, workers killed with SIGKILL every few seconds, a database that is restarted.

What came of it is read from a log that the launched jobs write themselves, a line when they start and one when they
end, and compared with the database only then. `python storm.py URL FOLDER` is one of its workers.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from dispatch_stand_in import Notifying, build_job

from poolform.core.dispatch.worker import Worker
from poolform.core.errors import StoreError
from poolform.core.store import deployments, pools, queues, runs
from poolform.core.store.database import open_store

POOL, QUEUE, DEPLOYMENT = 24, 6, 3
"""Limits: of the pool, of its queue `narrow`, and of the deployment `single`, which is in that queue."""
LEASE = 3.0


@dataclass
class Storm:
    """One storm: `count` runs, `workers` of them at a time, one killed every `every` seconds (from, to)."""

    url: str
    folder: Path
    count: int
    workers: int = 4
    every: tuple[float, float] = (1.0, 4.0)
    restarts: list = field(default_factory=list)
    """What to call once that share of the runs has ended: [(share, function), …]."""
    kills: int = 0
    restarted: int = 0
    seconds: float = 0.0

    @property
    def trace(self):
        return self.folder / "trace"

    def submit(self):
        """Make the pool, its queue and deployments, and submit all runs."""
        trace = self.trace
        script = f"echo start $KEY >> {trace}; sleep 0.1; echo end $KEY >> {trace}"
        with open_store(self.url) as store:
            with store.write() as tx:
                pool = pools.create(
                    tx, name="lab", type="process", plugin="poolform", plugin_version="1", state="ready",
                    concurrency_limit=POOL,
                )  # fmt: skip
                narrow = queues.create(tx, pool.id, "narrow", concurrency_limit=QUEUE)
                wide, single = (
                    deployments.save(
                        tx, flow_name="etl", name=name, pool_id=pool.id, queue_id=queue, entrypoint="f.py:etl",
                        concurrency_limit=limit,
                    )
                    for name, queue, limit in (
                        ("wide", queues.get(tx, pool.id).id, None), ("single", narrow.id, DEPLOYMENT)
                    )
                )  # fmt: skip
            for start in range(0, self.count, 500):
                with store.write() as tx:
                    for number in range(start, min(start + 500, self.count)):
                        deployment = (wide, wide, wide, single)[number % 4]
                        queue = narrow.id if number % 8 == 1 else None
                        runs.submit(
                            tx, pool=pool, flow_name="etl", deployment=deployment, queue_id=queue,
                            job_variables={"script": script},
                        )  # fmt: skip

    def rage(self, patience):
        """Let workers loose and kill them until all runs have ended, or for `patience` seconds."""
        started = time.monotonic()
        crew = [self.worker() for _ in range(self.workers)]
        restarts = list(self.restarts)
        strike = started + random.uniform(*self.every)
        try:
            with open_store(self.url) as store:
                while (left := self.left(store)) is None or left > 0:
                    assert time.monotonic() - started < patience, f"{left} runs are left after {self.kills} kills"
                    if restarts and left is not None and self.count - left >= restarts[0][0] * self.count:
                        restarts.pop(0)[1]()
                        self.restarted += 1
                    if time.monotonic() > strike:
                        victim = random.randrange(len(crew))
                        crew[victim].kill()
                        crew[victim].wait()
                        self.kills += 1
                        crew[victim] = self.worker()
                        strike = time.monotonic() + random.uniform(*self.every)
                    time.sleep(0.2)
            self.seconds = time.monotonic() - started
        finally:
            for one in crew:
                one.kill()
                one.wait()

    def worker(self):
        command = [sys.executable, __file__, self.url, str(self.folder)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def left(self, store):
        """Return how many runs have not ended, or still are held; None while the database is away."""
        try:
            with store.read() as tx:
                return tx.execute(
                    "SELECT count(*) AS n FROM flow_runs "
                    "WHERE state IN ('scheduled', 'pending', 'submitted', 'running') OR worker_id IS NOT NULL"
                )[0]["n"]
        except StoreError:
            return None

    def check(self):
        """Compare the jobs' log with what must be; return what was most at a time by pool, queue and deployment."""
        with open_store(self.url) as store, store.read() as tx:
            rows = tx.execute(
                "SELECT r.id, r.state, r.attempt, q.name AS queue, d.name AS deployment FROM flow_runs r "
                "JOIN work_queues q ON q.id = r.queue_id JOIN deployments d ON d.id = r.deployment_id"
            )
        known = {f"{row['id']}.{row['attempt']}": row for row in rows}
        events = [line.split() for line in self.trace.read_text().splitlines()]
        started = Counter(key for event, key in events if event == "start")
        assert Counter(row["state"] for row in rows) == {"completed": self.count}
        assert set(started) == set(known), "launched, and every one of them"
        assert set(started.values()) == {1}, "and once"
        now, most = Counter(), Counter()
        for event, key in events:
            for place in ("pool", f"queue {known[key]['queue']}", f"deployment {known[key]['deployment']}"):
                now[place] += 1 if event == "start" else -1
                most[place] = max(most[place], now[place])
        assert set(now.values()) == {0}, "each start has its end"
        assert most["pool"] <= POOL
        assert most["queue narrow"] <= QUEUE
        assert most["deployment single"] == DEPLOYMENT  # it always has some waiting, so its limit is met
        return most


def main(url, folder):
    platform = Notifying(Path(folder) / "jobs")
    platform.threads = 4  # so that it is killed with several launches under way, too
    worker = Worker(open_store(url), lambda pool: platform, build_job, lease=LEASE)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
