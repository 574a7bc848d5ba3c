"""Temporary workspaces: gone afterwards, also where their process died, and never while it lives."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from poolform.core.pools.workspaces import clear_abandoned, temporary_workspace
from poolform.core.settings import Settings


def test_who_clears_up_leaves_what_is_in_use_and_its_lock(tmp_path):
    settings = Settings.from_environment({"POOLFORM_HOME": str(tmp_path)})
    done, missed = threading.Event(), []

    def clear():
        while not done.is_set():
            clear_abandoned(settings)

    def use():
        for _ in range(150):
            with temporary_workspace(settings, "ab12cd34") as workspace:
                time.sleep(0.0005)
                there = (workspace.path, workspace.path.with_suffix(".lock"))
                missed.extend(path for path in there if not path.exists())

    clearing, using = ([threading.Thread(target=act) for _ in range(3)] for act in (clear, use))
    for thread in (*clearing, *using):
        thread.start()
    for thread in using:
        thread.join()
    done.set()
    for thread in clearing:
        thread.join()
    assert missed == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_a_killed_process_left_is_cleared(tmp_path):
    code = """
import os, sys
from poolform.core.pools.workspaces import temporary_workspace
from poolform.core.settings import Settings
with temporary_workspace(Settings.from_environment({"POOLFORM_HOME": sys.argv[1]}), "ab12cd34"):
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list((tmp_path / "tmp").iterdir())) == 2
    clear_abandoned(Settings.from_environment({"POOLFORM_HOME": str(tmp_path)}))
    assert list((tmp_path / "tmp").iterdir()) == []
