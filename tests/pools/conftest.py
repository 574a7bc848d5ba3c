"""The command line as a person runs it, in a process of its own, with a pool type that dies on request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def cloud(tmp_path):
    folder = tmp_path / "cloud"
    (folder / "keys").mkdir(parents=True)
    return folder


@pytest.fixture
def run(home, cloud, tmp_path):
    """Return a function that runs `poolform …` and returns how it ended."""

    def run(*args, stdin=None, **env):
        environment = {
            **os.environ,
            "POOLFORM_PLUGINS": "mortal",
            "PYTHONPATH": str(Path(__file__).parent),
            "MORTAL_CLOUD": str(cloud),
            **env,
        }
        program = Path(sys.executable).with_name("poolform")
        done = subprocess.run(
            [program, *map(str, args)],
            env=environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def leftovers(home):
    """Return a function that names whatever temporary thing is still in the home."""

    def look():
        found = [path for path in (home / "tmp").glob("*") if path.is_dir()]
        return [
            str(p.relative_to(home))
            for p in [*found, *home.glob("pools/*/plan.bin"), *home.glob("pools/*/.*.lock.info")]
        ]

    return look
