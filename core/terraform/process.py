"""Running one Terraform command: argv, one sink for its output, stdin closed, and Ctrl-C waits.

The child writes to an unlinked file, not to a pipe. A pipe dies with its reader, and Terraform then dies on SIGPIPE
before it has written its state and leaves its lock behind; with a file, a killed Poolform costs nothing: Terraform
goes on to its end. The child is in its own process group, so that a terminal's Ctrl-C reaches only us, and reaches
Terraform exactly once: on a second one it would drop its work.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from poolform.core.errors import TerraformError, TerraformMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

_TICK = 0.05
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Command:
    """One command line, where it runs and with which environment.

    `inherit` are file descriptors that the child keeps open: a lock held through one outlives a killed parent for as
    long as the child works.
    """

    argv: tuple[str, ...]
    folder: Path
    env: Mapping[str, str] = field(repr=False)
    inherit: tuple[int, ...] = ()


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, negative for a signal, and whether it was asked to stop."""

    code: int
    interrupted: bool


def run(command: Command, on_line: Callable[[str], None], on_interrupt: Callable[[int], None]) -> Ended:
    """Run `command` to its end, giving each line of its output to `on_line`, also after Ctrl-C or SIGTERM.

    The first interrupt is passed on to the child, later ones are not; `on_interrupt` hears how many there were. What
    either of them raises (nobody reads our output any more) is raised after the child's end: a lock is held until then.
    Raises TerraformMissing when the program cannot be started, TerraformError when there is no room for its output.
    """
    failure: BaseException | None = None
    with _sink() as sink, _interrupts() as interrupts:
        child = _start(command, sink)
        lines = _Lines(sink)
        passed_on = 0
        while True:
            ended = _wait(child)
            try:
                if interrupts.count > passed_on:
                    if passed_on == 0:
                        child.send_signal(signal.SIGINT)
                    passed_on = interrupts.count
                    on_interrupt(passed_on)
                for line in lines.read(last=ended):
                    if failure is None:
                        on_line(line)
            except BaseException as exc:  # noqa: BLE001 - raised once the child has ended
                failure = failure or exc
            if ended:
                break
    if failure is not None:
        raise failure
    return Ended(child.returncode, interrupted=passed_on > 0)


def _start(command: Command, sink: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command.argv,
            cwd=command.folder,
            env=dict(command.env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            pass_fds=command.inherit,
            process_group=0,
            umask=0o077,  # plans and states hold values in clear
        )
    except OSError as exc:
        raise TerraformMissing(
            f"{command.argv[0]} cannot be started: {exc.strerror}.",
            hint="Set POOLFORM_TERRAFORM to a Terraform or OpenTofu executable.",
        ) from exc


@contextmanager
def _sink() -> Iterator[int]:
    try:
        file = tempfile.TemporaryFile(prefix="poolform-")  # noqa: SIM115 - closed below: only opening it says so
    except OSError as exc:
        raise TerraformError(
            f"There is no room for Terraform's output in {tempfile.gettempdir()}: {exc.strerror}.",
            hint="Free some space, or set TMPDIR to a folder that has some.",
        ) from exc
    with file:
        yield file.fileno()


class _Lines:
    """Reads whole lines from a file that is still being written, without moving the writer's offset."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._offset, self._rest = descriptor, 0, b""

    def read(self, *, last: bool) -> list[str]:
        data = self._rest
        while block := os.pread(self._descriptor, _BLOCK, self._offset):
            self._offset += len(block)
            data += block
        *whole, self._rest = data.split(b"\n")
        if last and self._rest:
            whole.append(self._rest)
        return [line.decode(errors="replace") for line in whole]


@dataclass
class _Interrupts:
    count: int = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.count += 1


@contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    """Count SIGINT and SIGTERM instead of letting them unwind us; only a main thread can."""
    interrupts = _Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.signal(number, interrupts) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(child: subprocess.Popen[bytes]) -> bool:
    """Wait a tick, or until the child ends; say whether it has."""
    try:
        descriptor = os.pidfd_open(child.pid)
    except (AttributeError, OSError):  # not on Linux
        try:
            child.wait(_TICK)
        except subprocess.TimeoutExpired:
            return False
        return True
    try:
        select.select([descriptor], [], [], _TICK)
    finally:
        os.close(descriptor)
    return child.poll() is not None


def arguments(program: Sequence[str], verb: str, *args: str, **flags: object) -> tuple[str, ...]:
    """Compose a command line; a flag that is True stands bare, False and None are left out.

    python-terraform's composer, with explicit flags: the rest of that library does not work with today's Terraform.
    """
    import logging

    from python_terraform import IsFlagged, IsNotFlagged, Terraform

    logging.getLogger("python_terraform").setLevel(logging.WARNING)  # its debug log prints values
    # Its constructor reads a state file from its working folder; there is none below the null device.
    composer = Terraform(working_dir=os.devnull, terraform_bin_path=program[0])
    bare = {True: IsFlagged, False: IsNotFlagged, None: IsNotFlagged}
    named = {name: bare[flag] if flag is None or isinstance(flag, bool) else flag for name, flag in flags.items()}
    composed: list[str] = composer.generate_cmd_string(verb, *args, **named)
    return (composed[0], *program[1:], *composed[1:])
