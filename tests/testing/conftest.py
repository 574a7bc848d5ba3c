"""The kit is tested with its own fixtures, and with a bare Terraform: nothing of core stands between."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from poolform.testing.fixtures import standin, throwaway_home

__all__ = ["standin", "throwaway_home"]  # imported: `pytest_plugins` may stand only in a top-level conftest


class Terraform:
    """The real executable in a folder, as a person would run it."""

    def __init__(self, folder):
        self.folder = folder
        self.started = []

    def start(self, *arguments):
        process = subprocess.Popen(
            ["terraform", *arguments],
            cwd=self.folder,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.started.append(process)
        return process

    def run(self, *arguments):
        """Return the exit code and all that was said."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said

    def __call__(self, *arguments):
        """Run a command that must succeed and return what it said."""
        code, said = self.run(*arguments)
        assert code == 0, said
        return said

    def apply(self, *arguments):
        return self("apply", "-auto-approve", "-no-color", *arguments)

    def actions(self, *arguments):
        """Plan, and return what would happen: address to actions. Also proves that a plan without changes exits 0."""
        code, said = self.run("plan", "-no-color", "-detailed-exitcode", "-out=plan.bin", *arguments)
        assert code in (0, 2), said
        changes = json.loads(self("show", "-json", "plan.bin"))["resource_changes"]
        planned = {item["address"]: item["change"]["actions"] for item in changes}
        actions = {address: what for address, what in planned.items() if what not in (["no-op"], ["read"])}
        assert bool(actions) == (code == 2)
        return actions

    def state(self):
        """Return the addresses of all managed resources in the state, which there may be none of yet."""
        code, said = self.run("state", "list", "-no-color")
        if "No state file was found" in said:
            return []
        assert code == 0, said
        return [line for line in said.split() if not line.startswith("data.")]


@pytest.fixture
def module(tmp_path):
    """Copy or write a root module and return Terraform in its folder, initialised."""

    made = []

    def make(source, **variables):
        folder = tmp_path / "module"
        if isinstance(source, Path):
            shutil.copytree(source, folder)
        else:
            folder.mkdir()
            (folder / "main.tf").write_text(source)
        if variables:
            (folder / "terraform.tfvars.json").write_text(json.dumps(variables))
        terraform = Terraform(folder)
        made.append(terraform)
        terraform("init", "-no-color", "-input=false")
        return terraform

    yield make
    for process in (process for terraform in made for process in terraform.started):
        if process.poll() is None:
            process.kill()
            process.communicate()
