"""The command line with pool types that are wrong in one way each."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def run(poolform, monkeypatch):
    monkeypatch.setenv("POOLFORM_PLUGINS", "wrong")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return poolform
