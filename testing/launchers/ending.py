"""The rules of `cancel`, `remove` and `close`: jobs end when told, nothing stays, and a launcher is no job's parent."""

# ruff: noqa: D102 - the name of a rule is its sentence

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from poolform.testing.launchers.platform import SLEEPER, Platform

if TYPE_CHECKING:
    from poolform.core.runs.launchers import Launcher
    from poolform.testing.launchers.jobs import Workbench
    from poolform.testing.launchers.platform import Connect, Leftovers

STUBBORN = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SLEEPER}"


class Ending(Platform):
    """Cancelling, clearing away, closing; each as often as one likes."""

    @pytest.mark.parametrize("code", [SLEEPER, STUBBORN], ids=["obedient", "stubborn"])
    def test_cancel_ends_a_job_in_the_end(self, launcher: Launcher, bench: Workbench, code: str) -> None:
        handle = bench.launch(launcher, bench.job(code))
        bench.wait_for_line(launcher, handle)
        launcher.cancel(handle)
        launcher.cancel(handle)  # twice is fine
        assert bench.wait_for_end(launcher, handle).exit_code != 0, "a cancelled job did not complete: it can't be 0"

    def test_cancel_of_what_has_ended_changes_nothing(self, launcher: Launcher, bench: Workbench) -> None:
        handle = bench.launch(launcher, bench.job("import sys; sys.exit(3)"))
        bench.wait_for_end(launcher, handle)
        launcher.cancel(handle)
        assert bench.wait_for_end(launcher, handle).exit_code == 3, "cancelling an ended job changed its exit code"

    def test_cancel_of_what_is_gone_is_fine(self, launcher: Launcher, bench: Workbench) -> None:
        handle = bench.launch(launcher, bench.job("pass"))
        bench.wait_for_end(launcher, handle)
        launcher.remove(handle)
        launcher.cancel(handle)

    def test_remove_twice_is_fine(self, launcher: Launcher, bench: Workbench) -> None:
        handle = bench.launch(launcher, bench.job("pass"))
        bench.wait_for_end(launcher, handle)
        launcher.remove(handle)
        launcher.remove(handle)

    def test_remove_leaves_nothing_behind(self, launcher: Launcher, leftovers: Leftovers, bench: Workbench) -> None:
        before = sorted(leftovers())
        secrets = {} if launcher.secrets == "none" else {"TOKEN": "hush"}
        jobs = [bench.job("print(1)", secrets=secrets), bench.job("import sys; sys.exit(1)")]
        handles = [bench.launch(launcher, job) for job in jobs]
        assert sorted(leftovers()) != before, "two jobs were launched and `leftovers` sees nothing: it proves nothing"
        for handle in handles:
            bench.wait_for_end(launcher, handle)
            bench.drain(launcher, handle)
            launcher.remove(handle)
        assert sorted(leftovers()) == before, "remove must leave the platform as it was before the launch"

    def test_jobs_go_on_when_the_launcher_is_closed(self, connect: Connect, bench: Workbench) -> None:
        first = connect()
        handle = bench.launch(first, bench.job("import time; time.sleep(0.5); print('went on')"))
        first.close()
        second = connect()
        assert bench.wait_for_end(second, handle).exit_code == 0, "closing a launcher must not touch its jobs"
        assert bench.drain(second, handle) == ["went on"], "what a job prints after the launcher was closed is lost"
        second.close()
