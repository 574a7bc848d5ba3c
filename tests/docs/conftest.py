"""Pages as tests: their files are written, their commands run, and what they show must be what comes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from clouds.docker import base_image, engine, registry  # noqa: F401 - fixtures

ROOT = Path(__file__).parent.parent.parent
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Page:
    """A page of docs/, followed in a folder of its own; `instead` replaces addresses of the world by ours."""

    def __init__(self, path, folder, instead, env):
        self.text = (ROOT / "docs" / path).read_text(encoding="utf-8")
        self.folder, self.instead = folder, instead
        self.env = {**os.environ, **env, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    @property
    def blocks(self):
        text = self.text
        for theirs, ours in self.instead.items():
            text = text.replace(theirs, ours)
        yield from _BLOCK.findall(text)

    @property
    def files(self):
        """The page's files: Python blocks that begin with their name."""
        return {
            match[1]: block
            for kind, block in self.blocks
            if (match := re.match(r"# (\S+)\n", block)) and kind != "text"
        }

    def follow(self):
        """Do all that the page says."""
        for name, text in self.files.items():
            (self.folder / name).write_text(text)
        for kind, block in self.blocks:
            if kind == "console":
                for command, expected in _commands(block):
                    self._run(command, expected)

    def _run(self, command, expected):
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        for line in expected:
            pattern = ".*".join(map(re.escape, line.split("…")))
            assert re.search(rf"^{pattern}$", done.stdout, re.MULTILINE), f"$ {command}\n{done.stdout}\nlacks: {line}"


def _commands(block):
    found = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line)
    return found


@pytest.fixture
def page(tmp_path):
    """A function that returns a page to follow, in an empty folder."""
    folder = tmp_path / "followed"
    folder.mkdir()

    def read(path, instead, **env):
        return Page(path, folder, instead, env)

    return read
