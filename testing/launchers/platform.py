"""What a launcher's author says about the platform, and what every rule is tried with."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pytest

from poolform.testing.launchers.jobs import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from poolform.core.runs.launchers import Job, Json, Launcher

    Connect = Callable[[], Launcher]
    Leftovers = Callable[[], Collection[str]]

# Runs until it is told to stop, and says that it runs.
SLEEPER = "import time\nprint('running', flush=True)\ntime.sleep(600)"


class Platform:
    """The settings and fixtures of the contract.

    `python` starts a Python on the platform, `configuration` is a job configuration that it takes. `patience` is how
    many seconds anything may take there, a forced cancellation included; `pause` is the time between two questions.
    Set `sees_files` to False where jobs cannot write to this machine's disk: whether a job was started twice is then
    judged by handles and logs alone.
    """

    python: ClassVar[Sequence[str]] = (sys.executable,)
    configuration: ClassVar[Mapping[str, Json]] = {}
    patience: ClassVar[float] = 60.0
    pause: ClassVar[float] = 0.02
    sees_files: ClassVar[bool] = True

    # -- override these two --------------------------------------------------------------------------------------

    @pytest.fixture
    def connect(self) -> Connect:
        """Return a function that gives a new launcher, always to one and the same platform."""
        pytest.fail("Override the fixture `connect`: it returns a function that makes a launcher.")

    @pytest.fixture
    def leftovers(self) -> Leftovers:
        """Return a function that names everything that there is on the platform now, secrets and logs included."""
        pytest.fail("Override the fixture `leftovers`: it returns a function that names all that is on the platform.")

    # -- what the rules use --------------------------------------------------------------------------------------

    @pytest.fixture
    def bench(self, tmp_path: Path, connect: Connect) -> Iterator[Workbench]:
        """Return what makes and follows jobs; afterwards nothing of them is left, also when a rule was broken."""
        marks = tmp_path / "marks" if self.sees_files else None
        if marks:
            marks.mkdir()
        bench = Workbench(self.python, self.configuration, marks, self.patience, self.pause)
        yield bench
        launcher = connect()
        for handle in dict.fromkeys(bench.launched):
            with suppress(Exception):  # a launcher that can't clear away is told so by the rules about that
                launcher.cancel(handle)
                bench.wait("the end", partial(_ended, launcher, handle))
                launcher.remove(handle)
        launcher.close()

    @pytest.fixture
    def job(self, bench: Workbench) -> Callable[..., Job]:
        """Return the maker of jobs, for rules of your own: `job("print(1)", "argument", env=…, secrets=…)`."""
        return bench.job

    @pytest.fixture
    def launcher(self, connect: Connect) -> Iterator[Launcher]:
        """Return a launcher, closed afterwards."""
        launcher = connect()
        yield launcher
        launcher.close()


def _ended(launcher: Launcher, handle: str) -> bool:
    status = launcher.poll([handle]).get(handle)
    return status is None or status.state == "exited"
