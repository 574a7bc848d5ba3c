"""A pool, workers that run in threads, and what to ask of them."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves sys.path alone

from dispatch_stand_in import Notifying, build_job

from poolform.core.dispatch.tasks import Listener
from poolform.core.dispatch.worker import Worker
from poolform.core.store import deployments, pools, queues, runs


class Bench:
    """A store with one ready pool, and a platform."""

    def __init__(self, store, folder):
        self.store, self.folder = store, folder
        self.pool = self.make_pool("lab")
        self.troubles = []
        self.workers = []
        self.platform = Notifying(folder / "jobs")

    def make_pool(self, name, **more):
        with self.store.write() as tx:
            values = {"type": "process", "plugin": "poolform", "plugin_version": "1", "state": "ready", **more}
            return pools.create(tx, name=name, **values)

    def change_pool(self, **changes):
        with self.store.write() as tx:
            self.pool = pools.update(tx, self.pool.id, **changes)

    def make_queue(self, name, **more):
        with self.store.write() as tx:
            return queues.create(tx, self.pool.id, name, **more)

    def deploy(self, name="nightly", **more):
        with self.store.write() as tx:
            queue = queues.get(tx, self.pool.id)
            return deployments.save(
                tx, flow_name="etl", name=name, pool_id=self.pool.id, queue_id=queue.id, entrypoint="f.py:etl", **more
            )

    def submit(self, script="true", *, pool=None, secrets=None, **more):
        variables = {"script": script} | ({"secrets": secrets} if secrets else {})
        with self.store.write() as tx:
            return runs.submit(tx, pool=pool or self.pool, flow_name="etl", job_variables=variables, **more)

    def run(self, run):
        with self.store.read() as tx:
            return runs.get(tx, run.id)

    def states(self, run):
        with self.store.read() as tx:
            return [change.state for change in runs.states(tx, run.id)]

    def cancel(self, run):
        with self.store.write() as tx:
            return runs.cancel(tx, run.id)

    def work(self, platform=None, *, launchers=None, build_job=build_job, **more):
        """Start a worker in a thread."""
        bench = self

        class Hearing(Listener):
            def trouble(self, pool, message):
                bench.troubles.append(message)

        launchers = launchers or (lambda pool: platform or self.platform)
        worker = Worker(self.store, launchers, build_job, **{"listener": Hearing(), "lease": 2.0, **more})
        thread = threading.Thread(target=worker.run)
        thread.start()
        self.workers.append((worker, thread))
        return worker

    def stop(self):
        for worker, _ in self.workers:
            worker.stop()
        for _, thread in self.workers:
            thread.join(20)
            assert not thread.is_alive()
        self.workers = []

    def wait(self, *wanted, state=None, seconds=20, released=True):
        """Wait until runs have ended (or are in `state`), and return them."""
        deadline = time.monotonic() + seconds
        while True:
            found = [self.run(run) for run in wanted]
            if all(run.state == state if state else run.ended and not (released and run.worker_id) for run in found):
                return found[0] if len(found) == 1 else found
            assert time.monotonic() < deadline, [(run.state, run.reason, run.worker_id) for run in found]
            time.sleep(0.01)


@pytest.fixture
def bench(store, tmp_path):
    made = Bench(store, tmp_path)
    yield made
    made.stop()
