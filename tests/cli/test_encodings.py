"""Terminals whose encoding is not UTF-8: what they cannot show is escaped, and nothing fails for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
POOLFORM = Path(sys.executable).with_name("poolform")


def test_what_a_terminal_cannot_show_is_escaped_and_json_stays_json(poolform, tmp_path):
    (tmp_path / "flows.py").write_text('def greet():\n    """Grüßt."""\n    print("Grüße ✓")\n', encoding="utf-8")
    assert poolform("work-pool", "create", "p", "--type", "process", "--provision-infra", "--yes").code == 0
    assert poolform("deploy", "flows.py:greet", "--name", "t", "--pool", "p", **ASCII).code == 0
    watched = poolform("deployment", "run", "greet/t", "--watch", **ASCII)
    assert (watched.code, watched.out) == (0, "Gr\\xfc\\xdfe \\u2713\n"), watched.err
    (run,) = poolform("flow-run", "ls", "-o", "json", **ASCII).json
    assert poolform("flow-run", "logs", run["id"], "-o", "json", **ASCII).json[0]["line"] == "Grüße ✓"
    assert poolform("deployment", "inspect", "greet/t", "-o", "json", **ASCII).json["description"] == "Grüßt."
    assert "Gr\\xfc\\xdft." in poolform("deployment", "inspect", "greet/t", **ASCII).out
    assert poolform("flow-run", "logs", run["id"]).out == "Grüße ✓\n"


@pytest.mark.parametrize(("env", "sign"), [(ASCII, "ë".encode()), ({"LC_ALL": "C.UTF-8"}, b"\xff")])
def test_an_argument_that_is_no_text_here_is_refused(env, sign):
    done = subprocess.run(
        [POOLFORM, "work-pool", "inspect", b"Zo" + sign], env={**os.environ, **env}, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"is no text in this terminal's encoding" in done.stderr
    assert b"LC_ALL=C.UTF-8" in done.stderr
