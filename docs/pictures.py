"""Make the pictures of the README: what the command line prints in a terminal, as SVG.

`python docs/pictures.py` runs the real commands, in a home of its own, and writes docs/images/*.svg.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from io import StringIO
from pathlib import Path

import pexpect
from rich.console import Console
from rich.text import Text

IMAGES = Path(__file__).parent / "images"
WIDTH = 96


def main() -> None:
    """Make every picture."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "POOLFORM_HOME": f"{folder}/home", "TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
        command = "poolform work-pool create my-pool --type process --provision-infra"
        picture("provision", command, answered(command, env, {r"\[y/N\]": "y\n"}))
        drifted(env)
        picture("drift", "poolform work-pool drift my-pool", answered("poolform work-pool drift my-pool", env, {}))


def drifted(env: dict[str, str]) -> None:
    """Change by hand what the pool's state says, as somebody at a cloud's console would."""
    (state,) = Path(env["POOLFORM_HOME"]).glob("pools/*/terraform.tfstate")
    text = state.read_text()
    state.write_text(text.replace("/jobs/", "/elsewhere/").replace('"serial": 1', '"serial": 2'))


def answered(command: str, env: dict[str, str], answers: dict[str, str]) -> str:
    """Return what a command prints in a terminal, its questions answered."""
    program = Path(sys.executable).with_name("poolform")
    words = command.split()[1:]
    heard = StringIO()
    child = pexpect.spawn(str(program), words, env=env, encoding="utf-8", dimensions=(50, WIDTH), timeout=60)
    child.logfile_read = heard
    for question, answer in answers.items():
        child.expect(question)
        child.send(answer)
    child.expect(pexpect.EOF)
    return settled(heard.getvalue()).replace(env["POOLFORM_HOME"], "~/.poolform")


def settled(text: str) -> str:
    """Return what a terminal is left with: live lines were cleared, only colours remain."""
    text = re.sub(r"\x1b\[(\?25[lh]|[0-9]*[AK]|2K|1A)", "", text)
    lines = [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]
    spinner = re.compile(r"^(\x1b\[[0-9;]*m)*[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]")
    return "\n".join(line for line in lines if not spinner.match(line)).strip("\n")


def picture(name: str, command: str, text: str) -> None:
    """Write one picture."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="standard")
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text.from_ansi(text))
    IMAGES.mkdir(exist_ok=True)
    console.save_svg(str(IMAGES / f"{name}.svg"), title="poolform")


if __name__ == "__main__":
    main()
