"""Somebody at a command line, and what goes wrong while they work."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

FOREIGN = ("AWS_", "TF_", "POOLFORM_")
# Terraform, but for the record: what it was called with, and each plan file that it ever saved.
RECORDER = """\
#!/bin/sh
record={record}
printf '%s\\n' "$*" >> "$record/argv"
{terraform} "$@"
code=$?
for plan in plan.bin "$PWD/plan.bin"; do
  [ -f "$plan" ] && cp "$plan" "$record/plan.$$.$(basename "$PWD")"
done
exit $code
"""


@dataclass
class Person:
    """Has a home of their own and works in a folder of flows; runs the command line as anybody would."""

    root: Path
    environment: dict[str, str]
    folder: Path
    said: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, root, folder, **environment):
        mine = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        return cls(
            root, {**mine, "POOLFORM_HOME": str(root / "home"), "CHECKPOINT_DISABLE": "1", **environment}, folder
        )

    def on_record(self):
        """Keep all that Terraform is given, below `record`."""
        record, recorder = self.root / "record", self.root / "terraform-on-record"
        record.mkdir()
        found = subprocess.run(("sh", "-c", "command -v terraform"), capture_output=True, text=True, check=True)
        recorder.write_text(RECORDER.format(record=record, terraform=found.stdout.strip()))
        recorder.chmod(recorder.stat().st_mode | stat.S_IXUSR)
        self.environment["POOLFORM_TERRAFORM"] = str(recorder)
        return self

    def start(self, *arguments):
        return subprocess.Popen(
            (sys.executable, "-m", "poolform.cli.app", *arguments),
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *arguments, expect=0):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        done = subprocess.CompletedProcess(arguments, process.returncode, out, err)
        self.said.append(out + err)
        assert expect is None or done.returncode == expect, f"{arguments}: {done.returncode}\n{out}\n{err}"
        return done

    def json(self, *arguments):
        return json.loads(self(*arguments, "-o", "json").stdout)

    def last_run(self):
        return self.json("flow-run", "ls", "--limit", "1")[0]

    def deploy(self, *flows, pool="p", options=()):
        """Make flows of flows.py deployments of a pool; `options` are those of the command."""
        for flow in flows:
            self("deploy", f"flows.py:{flow}", "--name", "n", "--pool", pool, *options)

    def watch(self, flow, *arguments, expect=0):
        """Run a flow and watch it to its end: the run, with what was said and its logs."""
        said = self("deployment", "run", f"{flow}/n", "--watch", *arguments, expect=expect)
        found = self.last_run()
        return {**found, "said": said.stdout + said.stderr, "logs": self("flow-run", "logs", found["id"]).stdout}

    def cancel(self, running, flow="sleeps"):
        """Run a flow, and cancel it once it is `running`: the run, with what was said."""
        watching = self._watching(running, flow)
        self("flow-run", "cancel", self.last_run()["id"])
        said = "".join(watching.communicate(timeout=90))
        return {**self.last_run(), "said": said}

    def abandon(self, running, flow="sleeps"):
        """Run a flow, and be gone, killed, once it is `running`: its job goes on, and nobody looks after it."""
        watching = self._watching(running, flow)
        watching.kill()
        watching.communicate()

    def _watching(self, running, flow):
        watching = self.start("deployment", "run", f"{flow}/n", "--watch")
        until(running)
        return watching

    def assert_told_nobody(self, *secrets):
        """Check that no secret is in a file of theirs, a recorded command line or plan, or on the screen."""
        files = [path for path in self.root.rglob("*") if path.is_file()]
        assert any(path.name == "argv" for path in files)
        assert sum(path.name.startswith("plan.") for path in files) >= 3
        for path in files:
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), path
        for secret in secrets:
            assert len(secret) > 20
            assert all(secret not in said for said in self.said)


def until(happened, seconds=60):
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def kill_tree(pid):
    """What a power cut does: the process, its children and theirs are gone, at once."""
    tree, known = [pid], -1
    while len(tree) != known:  # until nobody new is found: they may still be starting children
        known = len(tree)
        for process in tree:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
        tree = [pid, *_below(pid)]
    for process in tree:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _below(pid):
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found, layer = [], {pid}
    while layer:
        layer = {child for child, parent in parents.items() if parent in layer}
        found += sorted(layer)
    return found
