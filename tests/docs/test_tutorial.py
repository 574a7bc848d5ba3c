"""The tutorial, walked: its files are written, its commands are run in its order, and they print what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from fresh import Environment

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BLOCKS = [match.groups() for match in BLOCK.finditer(TUTORIAL)]
PREPARATION = """\
$ python3 -m venv nice-venv
$ . nice-venv/bin/activate
$ pip install 'poolform[embedded,testing]'
"""


class Shell:
    """A newcomer's shell: keeps its folder and its variables from one command to the next."""

    def __init__(self, folder, environment):
        self.folder, self.memory, self.environment = folder, folder / ".shell", environment
        self.memory.write_text("")

    @property
    def cwd(self):
        """Where the shell is now."""
        said = subprocess.run(
            ["bash", "-c", f". {shlex.quote(str(self.memory))}; pwd"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return Path(said.stdout.strip())

    def run(self, command):
        """Run a command, which must succeed; return all that it prints."""
        memory = shlex.quote(str(self.memory))
        script = (
            f'. {memory}\n{command}\ncode=$?\n{{ export -p; echo "cd $(printf %q "$PWD")"; }} >{memory}\nexit $code'
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        return done.stdout


def commands(text):
    """Yield each command of a console block, and what it is said to print."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def pattern(printed):
    """Return a pattern for what is printed, in `aligned` form: an ellipsis alone is any lines, in a line any text."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else rf"{re.escape(line).replace('…', '.*?')}\s*\n"
        for line in printed.splitlines()
    ]
    return re.compile("".join(lines))


def aligned(text):
    """Return text without what only depends on how wide the columns of a table are."""
    return re.sub(r"(?<=\S) +", " ", text)


@pytest.mark.slow
def test_the_tutorial_from_its_first_line_to_its_last(tmp_path):
    environment = Environment(tmp_path / "nice-venv").variables
    del environment["POOLFORM_HOME"]
    shell = Shell(tmp_path, {**environment, "TMPDIR": str(tmp_path), "COLUMNS": "120"})
    assert BLOCKS[0] == ("console", None, PREPARATION), "the test prepares its environment in another way"
    for language, title, text in BLOCKS[1:]:
        if title:
            path = shell.cwd / title
            assert path.parent.is_dir()
            path.write_text(text)
        elif language == "console":
            for command, printed in commands(text):
                output = shell.run(command)
                if printed:
                    assert pattern(aligned(printed)).fullmatch(aligned(output)), (
                        f"$ {command}\n{output}\n-- instead of --\n{printed}"
                    )
    package = tmp_path / "poolform-nice"
    assert list((package / "jobs").iterdir()) == []
    assert list((tmp_path / "nice-home" / "pools").iterdir()) == []
    # It says what is told of a rule that is broken: so break it.
    removes_nothing = (package / "poolform_nice" / "launcher.py").read_text()
    broken = removes_nothing.replace("shutil.rmtree(self.folder / handle, ignore_errors=True)", "pass")
    assert broken != removes_nothing
    (package / "poolform_nice" / "launcher.py").write_text(broken)
    (said,) = (text for language, _, text in BLOCKS if language == "text")
    assert said in shell.run("poolform plugin check poolform-nice || true")


def test_the_pool_type_takes_no_more_than_it_may():
    """80 lines of Python and 40 of HCL, the launcher included; blank lines and comments are free."""
    counts = {"python": 0, "terraform": 0}
    for language, title, text in BLOCKS:
        if title and title.startswith("poolform_nice/") and not title.endswith("conformance.py"):
            lines = [line.strip() for line in text.splitlines()]
            counts[language] += len([line for line in lines if line and not line.startswith("#")])
    assert 0 < counts["python"] <= 80
    assert 0 < counts["terraform"] <= 40
