"""A worker works on though nobody listens, and ends when it is told to though its platforms say nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_platform_that_does_not_answer_keeps_no_worker_from_being_stopped(poolform, monkeypatch, tmp_path):
    monkeypatch.setenv("POOLFORM_PLUGINS", "silent_platform")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    (tmp_path / "flows.py").write_text("def work(): pass\n")
    assert poolform("work-pool", "create", "p", "--type", "silent").code == 0
    assert poolform("deploy", "flows.py:work", "--name", "d", "--pool", "p").code == 0
    run = poolform("deployment", "run", "work/d").out.strip()
    worker = subprocess.Popen(
        [Path(sys.executable).with_name("poolform"), "worker", "start", "--lease", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert worker.stderr is not None
    try:
        assert any("pending" in line for line in worker.stderr)
        worker.send_signal(signal.SIGTERM)
        assert any("A platform does not answer." in line for line in worker.stderr)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(10) == -signal.SIGINT
    finally:
        worker.kill()
        worker.wait()
        worker.stderr.close()
    assert poolform("flow-run", "inspect", run, "-o", "json").json["state"] == "pending"  # to be taken over


@pytest.mark.slow
def test_a_worker_goes_on_though_nobody_reads_what_it_says(poolform, tmp_path):
    """Such as below `2>&1 | head`, or after the log that it was piped into has ended."""
    (tmp_path / "flows.py").write_text("def work(): pass\n")
    folder = f"folder={tmp_path / 'jobs'}"
    assert (
        poolform("work-pool", "create", "p", "--type", "process", "--set", folder, "--provision-infra", "-y").code == 0
    )
    assert poolform("deploy", "flows.py:work", "--name", "d", "--pool", "p").code == 0
    reader, writer = os.pipe()
    worker = subprocess.Popen([Path(sys.executable).with_name("poolform"), "worker", "start"], stderr=writer)
    os.close(writer)
    try:
        assert b"started" in os.read(reader, 4096)
        os.close(reader)
        run = poolform("deployment", "run", "work/d").out.strip()
        assert poolform("flow-run", "watch", run).code == 0
        worker.terminate()
        assert worker.wait(10) == 0
    finally:
        worker.kill()
        worker.wait()
