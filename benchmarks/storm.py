"""Ten thousand runs through four workers that are killed again and again, on a database that is restarted twice.

`python benchmarks/storm.py [--runs N]`. Prints what happened, and fails unless every run was launched exactly once,
none is lost or stuck, and no limit was passed, by the log that the jobs themselves write. tests/dispatch/storm.py says
how.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / "tests"), str(Path(__file__).parent.parent / "tests" / "dispatch")]

import postgresql
from storm import DEPLOYMENT, POOL, QUEUE, Storm


def main() -> None:
    """Run both storms and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    options = parser.parse_args()
    print("\nWorkers that are killed, a database that is restarted", flush=True)
    server = postgresql.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            restarts = [
                (0.33, lambda: postgresql.restart(server, "immediate")),
                (0.66, lambda: postgresql.restart(server, "fast")),
            ]
            storm = Storm(f"{server['url']}/postgres", Path(folder), options.runs, restarts=restarts)
            measure("PostgreSQL", storm)
    finally:
        postgresql.stop(server)
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", Storm(f"sqlite:///{folder}/store.db", Path(folder), options.runs // 5))


def measure(name: str, storm: Storm) -> None:
    """Run one storm and print what came of it."""
    storm.submit()
    storm.rage(patience=7200)
    most = storm.check()
    load = os.getloadavg()[1]
    print(f"  {name}: {storm.count:,} runs, {storm.workers} workers, {storm.kills} killed, {storm.restarted} restarts")
    print(f"    launched exactly once, completed, none lost or stuck: all, in {storm.seconds:.0f} s (load {load:.1f})")
    limits = {"pool": POOL, "queue narrow": QUEUE, "deployment single": DEPLOYMENT}
    print(
        f"    most at a time: {', '.join(f'{key} {most[key]} of {limit}' for key, limit in limits.items())}", flush=True
    )


if __name__ == "__main__":
    main()
