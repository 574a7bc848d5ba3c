"""A trivial flow in a managed pool with a warm environment, beside one in a process pool, in turn.

Both are launched by one worker, from submission to completion. Containers are measured where BENCH_IMAGE names an image
with `python` of a Docker engine that answers; they are no part of the budget.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness import VENV, clean_environment, in_turn, installed, report, run, throwaway, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS = 25
_FLOW = "def trivial():\n    pass\n"
_EXTRAS = ("uv", "docker")


def main() -> None:
    """Measure and print; inside the environment with the wheel, for its store is asked directly."""
    bins = installed()
    if not sys.prefix.startswith(str(VENV)):
        run(bins / "python", "-m", "pip", "install", "--quiet", *_EXTRAS)
        os.execv(bins / "python", [bins / "python", __file__])
    image = os.environ.get("BENCH_IMAGE")
    with throwaway() as folder, _enterable() as pools:
        env = clean_environment(folder / "home")
        (folder / "flow.py").write_text(_FLOW)
        kinds = {"process": ["--type", "process"], "managed": _managed(pools, "process")}
        if image:
            kinds["container"] = _managed(pools, "container")
        for name, how in kinds.items():
            run(bins / "poolform", "work-pool", "create", name, *how, "--provision-infra", "--yes", env=env)
            where = ["--pool", name, "--source", "inline"]
            if name == "container":
                where += ["--job-variable", f"image={image}"]
            run(bins / "poolform", "deploy", "flow.py:trivial", "--name", name, *where, env=env, cwd=folder)
        with _worker(folder, env, bins), _starter(env) as start:
            contenders = {name: lambda name=name: start(name) for name in kinds}
            figures = in_turn(contenders, runs=RUNS, warm_up=3)  # the first ones make the environments
    ratio = figures["managed"].median / figures["process"].median
    said = [verdict("a managed pool's processes, against a process pool", ratio, 1.5, unit=" times")]
    report("A trivial flow, submitted to completed", figures, said)


def _managed(pools: Path, isolation: str) -> list[str]:
    return ["--type", "managed", "--set", f"folder={pools}", "--set", f"isolation={isolation}"]


@contextmanager
def _enterable() -> Iterator[Path]:
    """Yield a folder that jobs, which are other users, can enter."""
    folder = Path(tempfile.mkdtemp(prefix="poolform-bench-managed-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _worker(folder: Path, env: dict[str, str], bins: Path) -> Iterator[None]:
    with (folder / "output").open("ab") as output:
        command = [str(bins / "poolform"), "worker", "start"]
        child = subprocess.Popen(command, env=env, cwd=folder, stdout=output, stderr=output)
        time.sleep(1.5)
        try:
            yield
        finally:
            child.terminate()
            child.wait(60)


@contextmanager
def _starter(env: dict[str, str]) -> Iterator[Callable[[str], None]]:
    """Yield a function that submits a run to a pool and waits for its end."""
    from poolform.core.runs.deployments import submit
    from poolform.core.settings import Settings
    from poolform.core.store import deployments, pools, runs
    from poolform.core.store.database import open_store

    with open_store(Settings.from_environment(env)) as store:

        def start(name: str) -> None:
            with store.write() as tx:
                run_id = submit(tx, pools.get(tx, name), deployments.get(tx, f"trivial/{name}")).id
            while True:
                with store.read() as tx:
                    found = runs.get(tx, run_id)
                if found.ended:
                    break
                time.sleep(0.003)
            if found.state != "completed":
                sys.exit(f"a run in {name} did not complete: {found.reason}")

        yield start


if __name__ == "__main__":
    main()
