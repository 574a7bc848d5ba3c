"""docs/deployments: serve, deploy, schedules and project files, done as their pages say."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")


@pytest.mark.parametrize("name", ["deploy", "schedules", "project-files", "limits"])
def test_following_the_page(page, name):
    page(f"deployments/{name}.md", {}).follow()


@pytest.mark.parametrize("script", ["hello.py", "several.py"])
def test_serving(page, script, poolform):
    followed = page("deployments/serve.md", {})
    for name, text in followed.files.items():
        (followed.folder / name).write_text(text)
    serving = subprocess.Popen(
        [sys.executable, script], cwd=followed.folder, env=os.environ, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 30
        while not poolform("deployment", "ls", "-o", "json").json:
            assert time.monotonic() < deadline
        if script == "hello.py":
            followed.follow()
    finally:
        serving.send_signal(signal.SIGINT)
        _, said = serving.communicate(timeout=40)
    assert serving.returncode == 0, said
    shown = next(block for kind, block in followed.blocks if kind == "text")
    if script == "hello.py":
        assert all(line in said for line in shown.splitlines()[1:])
    assert {d["paused"] for d in poolform("deployment", "ls", "-o", "json").json} == {True}
