"""A folder that other users can enter, and an index of wheels."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from clouds.docker import base_image, engine
from managed.wheels import wheel

from poolform.testing.fixtures import standin, throwaway_home

__all__ = ["base_image", "engine", "standin", "throwaway_home"]  # fixtures

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give jobs users of their own")


@pytest.fixture
def folder():
    """Not below pytest's own: jobs are other users, who could not enter that."""
    made = Path(tempfile.mkdtemp(prefix="poolform-managed-"))
    made.chmod(0o711)
    yield made / "pool"
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def index(monkeypatch, tmp_path):
    """Wheels that uv and pip find, and nothing else."""
    made = Path(tempfile.mkdtemp(prefix="poolform-wheels-"))
    made.chmod(0o755)
    wheel(made, "acorn", "1.0", requires=["bark"])
    wheel(made, "acorn", "2.0", requires=["bark"])
    wheel(made, "bark", "1.0")
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": tmp_path / "uv-cache",
        "UV_FIND_LINKS": made,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": made,
    }.items():
        monkeypatch.setenv(name, str(value))
    yield made
    shutil.rmtree(made, ignore_errors=True)
