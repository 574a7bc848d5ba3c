"""Trivial flows in a process pool: latency from submission to completion, and how many a minute.

The limit is a loop that claims a row in the same kind of database and spawns the bare interpreter on the same flow, a
few at a time: no leases, no logs kept, no recovery, no runtime. The rival, where it is installed (BENCH_PREFECT names
its executable), is Prefect with one server and one process worker.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from harness import VENV, clean_environment, installed, prefect, run, throwaway, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LATENCY_RUNS = 15
THROUGHPUT_RUNS = 300
AT_A_TIME = 4
"""How many the bare loop keeps running: twice the cores, beyond which it does not get faster."""
_FLOW = "def trivial():\n    pass\n"


def main() -> None:
    """Measure and print; inside the environment with the wheel, for its store is asked directly."""
    bins = installed()
    if not sys.prefix.startswith(str(VENV)):
        os.execv(bins / "python", [bins / "python", __file__])
    print("\nTrivial flows in a process pool", flush=True)
    with throwaway() as folder:
        env = clean_environment(folder / "home")
        (folder / "flow.py").write_text(_FLOW)
        run(bins / "poolform", "work-pool", "create", "p", "--type", "process", "--provision-infra", "--yes", env=env)
        run(bins / "poolform", "deploy", "flow.py:trivial", "--name", "d", "--pool", "p", env=env, cwd=folder)
        with _process(folder, env, bins / "poolform", "worker", "start"):
            latency, rate = _ours(env)
        limit = _bare_loop(folder, THROUGHPUT_RUNS)
        print(f"  bare claim-and-spawn loop (the limit)          {limit:8.0f} runs a minute")
        print(f"  poolform                                       {rate:8.0f} runs a minute ({rate / limit:.2f} of it)")
        quoted = statistics.quantiles(latency, n=20)
        median = statistics.median(latency)
        print(f"  poolform, submit to completed                  {median:8.3f} s (p95 {quoted[18]:.3f})")
        print(f"  {verdict('latency', median, 0.3, unit=' s')}")
        print(f"  {verdict('rate', rate, 1000, at_least=True, unit=' a minute')}")
        rival = prefect()
        if rival is None:
            print("  Prefect is not installed here; name it with BENCH_PREFECT to measure it in the same run.")
        else:
            print(f"  Prefect, submit to completed                   {_rival(rival, folder):8.3f} s")


def _ours(env: dict[str, str]) -> tuple[list[float], float]:
    from poolform.core.runs.deployments import submit
    from poolform.core.settings import Settings
    from poolform.core.store import deployments, pools, runs
    from poolform.core.store.database import open_store

    store = open_store(Settings.from_environment(env))

    def start(count: int) -> list[str]:
        with store.write() as tx:
            pool, deployment = pools.get(tx, "p"), deployments.get(tx, "trivial/d")
            return [submit(tx, pool, deployment).id for _ in range(count)]

    def finish(ids: list[str]) -> None:
        waiting = set(ids)
        while waiting:
            with store.read() as tx:
                ended = {run_id for run_id in waiting if runs.get(tx, run_id).ended}
                failed = [r.reason for r in map(lambda i: runs.get(tx, i), ended) if r.state != "completed"]  # noqa: C417
            if failed:
                sys.exit(f"a run did not complete: {failed[0]}")
            waiting -= ended
            time.sleep(0.005 if len(ids) == 1 else 0.1)

    latency = []
    for _ in range(LATENCY_RUNS):
        began = time.perf_counter()
        finish(start(1))
        latency.append(time.perf_counter() - began)
    began = time.perf_counter()
    finish(start(THROUGHPUT_RUNS))
    rate = 60 * THROUGHPUT_RUNS / (time.perf_counter() - began)
    store.close()
    return latency, rate


def _bare_loop(folder: Path, count: int) -> float:
    """Claim and spawn; return runs a minute."""
    database = sqlite3.connect(folder / "bare.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, state TEXT)")
    database.executemany("INSERT INTO runs (state) VALUES (?)", [("scheduled",)] * count)
    waiting = "(SELECT id FROM runs WHERE state = 'scheduled' LIMIT 1)"
    claim = f"UPDATE runs SET state = 'running' WHERE id = {waiting} RETURNING id"
    running: dict[int, subprocess.Popen[bytes]] = {}
    began = time.perf_counter()
    while True:
        while len(running) < AT_A_TIME:
            row = database.execute(claim).fetchone()
            if row is None:
                break
            command = [sys.executable, "-c", "import flow; flow.trivial()"]
            running[row[0]] = subprocess.Popen(command, cwd=folder)
        if not running:
            break
        for run_id, child in list(running.items()):
            if child.poll() is not None:
                database.execute("UPDATE runs SET state = 'completed' WHERE id = ?", (run_id,))
                del running[run_id]
        time.sleep(0.0005)
    database.close()
    return 60 * count / (time.perf_counter() - began)


def _rival(prefect: Path, folder: Path) -> float:
    """Return Prefect's median seconds from a run's creation to its end, over three runs."""
    port = "42619"
    env = {
        **clean_environment(folder / "unused"),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    (folder / "prefect_flow.py").write_text("from prefect import flow\n\n\n@flow\ndef trivial():\n    pass\n")
    with _process(folder, env, prefect, "server", "start", "--host", "127.0.0.1", "--port", port, wait=20):
        run(prefect, "work-pool", "create", "p", "--type", "process", env=env)
        with _process(folder, env, prefect, "worker", "start", "--pool", "p", wait=10):
            flow = "prefect_flow.py:trivial"
            run(prefect, "--no-prompt", "deploy", flow, "--name", "d", "--pool", "p", env=env, cwd=folder)
            seconds = []
            for _ in range(3):
                run(prefect, "deployment", "run", "trivial/d", "--watch", env=env)
            found = json.loads(run(prefect, "flow-run", "ls", "-o", "json", env=env) or "[]")
            for item in found:
                began, ended = (_seconds(item[key]) for key in ("created", "end_time"))
                seconds.append(ended - began)
    shutil.rmtree(folder / "prefect", ignore_errors=True)
    return statistics.median(seconds)


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


@contextmanager
def _process(folder: Path, env: dict[str, str], *command: object, wait: float = 1.5) -> Iterator[None]:
    """Keep a process running meanwhile; its output goes to a file."""
    with (folder / "output").open("ab") as output:
        child = subprocess.Popen([str(word) for word in command], env=env, cwd=folder, stdout=output, stderr=output)
        time.sleep(wait)
        try:
            yield
        finally:
            child.terminate()
            child.wait(30)


if __name__ == "__main__":
    main()
