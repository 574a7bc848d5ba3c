"""Scheduled runs: how late they start, and what a worker costs that has a thousand schedules and nothing due.

The limit is a loop that sleeps until each due time and starts the bare interpreter. Prefect makes runs minutes ahead
and its workers look for them every 15 seconds, so its lateness is up to that; it is not measured here.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness import VENV, clean_environment, installed, run, throwaway, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

DUE = 20
"""How many times due, one a second."""
SCHEDULES = 1000
IDLE_SECONDS = 20
_FLOW = "def trivial():\n    pass\n"
_SCHEDULES = """
from poolform.core.runs import timetables
from poolform.core.runs.schedules import Cron
from poolform.core.settings import Settings
from poolform.core.store import deployments, pools, queues
from poolform.core.store.database import open_store
with open_store(Settings.from_environment()) as store, store.write() as tx:
    pool = pools.get(tx, "p")
    queue = queues.get(tx, pool.id)
    for number in range({count}):
        made = deployments.save(
            tx, flow_name="idle", name=str(number), pool_id=pool.id, queue_id=queue.id, entrypoint="flow.py:trivial"
        )
        timetables.add(tx, made, Cron("0 1 1 1 *"))
"""


def main() -> None:
    """Measure and print."""
    bins = installed()
    if not sys.prefix.startswith(str(VENV)):
        os.execv(bins / "python", [bins / "python", __file__])
    print("\nScheduled runs", flush=True)
    with throwaway() as folder:
        env = clean_environment(folder / "home")
        poolform = bins / "poolform"
        (folder / "flow.py").write_text(_FLOW)
        run(poolform, "work-pool", "create", "p", "--type", "process", "--provision-infra", "--yes", env=env)
        run(poolform, "deploy", "flow.py:trivial", "--name", "d", "--pool", "p", "--interval", "1", env=env, cwd=folder)
        with _worker(poolform, env):
            time.sleep(DUE)
        late = _lateness(folder / "home" / "poolform.db")
        bare = [_bare() for _ in range(5)]
        print(f"  sleeping and starting Python (the limit)       {statistics.median(bare):8.3f} s late")
        spread = f"({late[0]:.3f} to {late[-1]:.3f}, {len(late)} runs)"
        print(f"  poolform, due to running                       {statistics.median(late):8.3f} s late {spread}")
        print(f"  {verdict('median lateness', statistics.median(late), 0.2, unit=' s')}")
        run(poolform, "deployment", "pause", "trivial/d", env=env)
        run(bins / "python", "-c", _SCHEDULES.format(count=SCHEDULES), env=env)
        with _worker(poolform, env) as pid:
            time.sleep(2)
            before = _cpu(pid)
            time.sleep(IDLE_SECONDS)
            share = 100 * (_cpu(pid) - before) / IDLE_SECONDS
        print(f"  {verdict(f'worker with {SCHEDULES} schedules, nothing due', share, 2, unit=' % of a core')}")


@contextmanager
def _worker(poolform: Path, env: dict[str, str]) -> Iterator[int]:
    """Keep a worker running meanwhile; yield its process."""
    command = [str(poolform), "worker", "start"]
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    try:
        yield child.pid
    finally:
        child.terminate()
        child.wait(30)


def _lateness(database: Path) -> list[float]:
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT started_at - scheduled_at FROM flow_runs WHERE started_at IS NOT NULL ORDER BY scheduled_at"
        ).fetchall()
    connection.close()
    return sorted(late for (late,) in rows[1:])  # the first was missed before there was a worker


def _bare() -> float:
    due = time.time() // 1 + 1
    time.sleep(due - time.time())
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.time() - due


def _cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    if not Path(f"/proc/{pid}/stat").exists():
        shown = subprocess.check_output(["ps", "-o", "time=", "-p", str(pid)], text=True).strip()
        minutes, _, seconds = shown.rpartition(":")
        return 60 * float(minutes.rpartition(":")[2]) + float(seconds)
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
