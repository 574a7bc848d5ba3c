"""The command line as a person runs it, in a process of its own, with a pool type that dies on request."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def cloud(tmp_path):
    folder = tmp_path / "cloud"
    (folder / "keys").mkdir(parents=True)
    return folder


@pytest.fixture
def run(home, cloud, poolform, monkeypatch):
    """The command line with the mortal pool type."""
    monkeypatch.setenv("POOLFORM_PLUGINS", "mortal")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("MORTAL_CLOUD", str(cloud))
    return poolform


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
