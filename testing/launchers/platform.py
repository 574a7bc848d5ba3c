"""What a launcher's author says about the platform, and what every rule is tried with."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pytest

from poolform.core.errors import InvalidValues
from poolform.core.runs.jobs import base_job_template, resolve
from poolform.testing.launchers.jobs import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from poolform.core.pools.contract import PoolType
    from poolform.core.runs.launchers import Job, Json, Launcher

    Connect = Callable[[], Launcher]
    Leftovers = Callable[[], Collection[str]]

# Runs until it is told to stop, and says that it runs.
SLEEPER = "import time\nprint('running', flush=True)\ntime.sleep(600)"


class Platform:
    """The settings and fixtures of the contract.

    `python` starts a Python on the platform. `pool_type` is the pool type whose jobs are launched: they get the
    configuration that Poolform makes of its job variables, None where nobody sets one. `job_variables` sets those that
    jobs need here, be it because they are required or because a pool's connection would give them. `configuration` is
    laid over that; without a `pool_type`, it is all that jobs get. `patience` is how many seconds anything may take
    there, a forced cancellation included; `pause` is the time between two questions. Set `sees_files` to False where
    jobs cannot write to this machine's disk: whether a job was started twice is then judged by handles and logs alone.
    """

    python: ClassVar[Sequence[str]] = (sys.executable,)
    pool_type: ClassVar[type[PoolType] | None] = None
    job_variables: ClassVar[Mapping[str, Json]] = {}
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
        bench = Workbench(self.python, self._configured(), marks, self.patience, self.pause)
        yield bench
        launcher = connect()
        for handle in dict.fromkeys(bench.launched):
            with suppress(Exception):  # a launcher that can't clear away is told so by the rules about that
                launcher.cancel(handle)
                bench.wait("the end", partial(_ended, launcher, handle))
                launcher.remove(handle)
        launcher.close()

    def _configured(self) -> Mapping[str, Json]:
        """Return the configuration of jobs, made as core makes it."""
        if self.pool_type is None:
            return self.configuration
        try:
            made = resolve(base_job_template(self.pool_type), self.job_variables)
        except InvalidValues as exc:
            pytest.fail(f"`job_variables` do not fit {self.pool_type.__name__}: {' '.join(exc.problems)}")
        return {**made, **self.configuration}

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
