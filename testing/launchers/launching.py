"""The rules of `launch` and `find`: what a job gets, and that one key is one job."""

# ruff: noqa: D102 - the name of a rule is its sentence

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from poolform.core.runs.launchers import LaunchRefused
from poolform.testing.launchers.platform import SLEEPER, Platform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.runs.launchers import Launcher
    from poolform.testing.launchers.jobs import Workbench
    from poolform.testing.launchers.platform import Connect, Leftovers

# Tells what it was given without printing it, so that a secret is in no log of a test run.
ECHO = (
    "import hashlib, os, sys\nprint(hashlib.sha256(repr((sys.argv[1:], os.environ.get('GIVEN'))).encode()).hexdigest())"
)


def _echoed(arguments: Sequence[str], given: str | None) -> list[str]:
    """Return what ECHO prints where `arguments` and the variable GIVEN arrive as they were sent."""
    return [hashlib.sha256(repr((list(arguments), given)).encode()).hexdigest()]


class Launching(Platform):
    """What a job gets; one key is one job; what can't be launched is refused."""

    def test_arguments_and_environment_arrive_as_they_were_sent(self, launcher: Launcher, bench: Workbench) -> None:
        arguments = ("", "two words", "$HOME `id` \"'\\", "-x", "ünï\N{SNOWMAN}", "a\nb")
        given = "sp ace\n$HOME 'q' \"q\" \\ = ünï\N{SNOWMAN}"
        _, lines = bench.run(launcher, bench.job(ECHO, *arguments, env={"GIVEN": given}))
        assert lines == _echoed(arguments, given), "the job got other arguments, or another environment, than was sent"

    def test_a_job_of_the_pool_type_runs(self, launcher: Launcher, bench: Workbench) -> None:
        """With the configuration that Poolform makes of its job variables, of which most are not set."""
        if self.pool_type is None:
            pytest.skip("say in `pool_type` whose jobs these are: they then get the configuration that Poolform makes")
        status, _ = bench.run(launcher, bench.job("pass"))
        assert status.exit_code == 0, f"poll says {status}"

    def test_a_program_that_is_not_there_never_succeeds(self, launcher: Launcher, bench: Workbench) -> None:
        try:
            handle = bench.launch(launcher, bench.job("", command=("/no/such/program",)))
        except LaunchRefused:
            return
        assert bench.wait_for_end(launcher, handle).exit_code != 0, "a program that does not exist cannot exit 0"

    # -- one key is one job --------------------------------------------------------------------------------------

    def test_launching_twice_starts_one_job(self, launcher: Launcher, bench: Workbench) -> None:
        job = bench.job(SLEEPER)
        first, second = bench.launch(launcher, job), bench.launch(launcher, job)
        assert isinstance(first, str)
        assert first == second, "one key must give one handle, however often it is launched"
        assert bench.count_starts(launcher, job, first) == 1, "one key started more than one job"

    def test_launching_again_after_the_end_starts_nothing(self, launcher: Launcher, bench: Workbench) -> None:
        job = bench.job("print('once')")
        handle = bench.launch(launcher, job)
        bench.wait_for_end(launcher, handle)
        assert bench.launch(launcher, job) == handle, "a key that was launched before must give its first handle"
        assert bench.wait_for_end(launcher, handle).exit_code == 0
        assert bench.drain(launcher, handle) == ["once"], "a job that had ended was started again"
        assert bench.starts(job) in (1, None), "a job that had ended was started again"

    def test_another_launcher_starts_no_second_job(self, connect: Connect, bench: Workbench) -> None:
        """What happens when a worker died after its launch, and another one recovers the run."""
        job = bench.job(SLEEPER)
        first = connect()
        handle = bench.launch(first, job)
        first.close()
        second = connect()
        again = bench.launch(second, job)
        assert again == handle, "another launcher of this platform must find the job by its key"
        starts = bench.count_starts(second, job, handle)
        second.close()
        assert starts == 1, "another launcher started the job a second time"

    def test_two_launchers_at_once_start_one_job(self, connect: Connect, bench: Workbench) -> None:
        job = bench.job(SLEEPER)
        launchers = [connect(), connect()]
        with ThreadPoolExecutor(2) as threads:
            handles = list(threads.map(lambda launcher: bench.launch(launcher, job), launchers))
        assert handles[0] == handles[1], "two launches of one key at one time must give one handle"
        starts = bench.count_starts(launchers[0], job, handles[0])
        for launcher in launchers:
            launcher.close()
        assert starts == 1, "two launches of one key at one time started two jobs"

    def test_other_keys_are_other_jobs(self, launcher: Launcher, bench: Workbench) -> None:
        jobs = [bench.job("import sys; print(sys.argv[1])", name) for name in ("one", "two")]
        handles = [bench.launch(launcher, job) for job in jobs]
        assert handles[0] != handles[1], "two keys got one handle"
        assert [bench.drain(launcher, handle) for handle in handles] == [["one"], ["two"]]

    def test_as_many_threads_may_launch_as_it_says(self, launcher: Launcher, bench: Workbench) -> None:
        jobs = [bench.job("import sys; sys.exit(int(sys.argv[1]))", str(n)) for n in range(2 * launcher.threads)]
        with ThreadPoolExecutor(launcher.threads) as threads:
            handles = list(threads.map(lambda job: bench.launch(launcher, job), jobs))
        assert len(set(handles)) == len(jobs), "jobs launched from several threads got one handle"
        assert [bench.wait_for_end(launcher, handle).exit_code for handle in handles] == list(range(len(jobs)))

    # -- find ----------------------------------------------------------------------------------------------------

    def test_find_knows_what_was_launched(self, launcher: Launcher, connect: Connect, bench: Workbench) -> None:
        job = bench.job("pass")
        handle = bench.launch(launcher, job)
        assert launcher.find(job.key) == handle, "find must know a job as soon as launch has returned"
        bench.wait_for_end(launcher, handle)
        assert launcher.find(job.key) == handle, "find must know a job that has ended, until it is removed"
        other = connect()
        assert other.find(job.key) == handle, "find must ask the platform: another launcher started this job"
        other.close()

    def test_find_is_sure_about_what_was_not_launched(self, launcher: Launcher, bench: Workbench) -> None:
        launched = bench.job("pass")
        bench.launch(launcher, launched)
        assert launcher.find(bench.job("pass").key) is None, "find must be None for a key nobody has launched"
        assert launcher.find(launched.key[:-1] + "2") is None, "the next attempt of a run is another job"
        assert launcher.find(launched.key + "1") is None, "a key that only begins like a known one is another job"

    # -- refusals ------------------------------------------------------------------------------------------------

    def test_a_payload_over_the_limit_is_refused_before_launch(
        self, launcher: Launcher, leftovers: Leftovers, bench: Workbench
    ) -> None:
        limit = launcher.payload_limit
        if limit is None:
            pytest.skip("this launcher states no limit")
        before = sorted(leftovers())
        job = bench.job("pass", env={"GIVEN": "x" * limit})
        with pytest.raises(LaunchRefused) as refused:
            bench.launch(launcher, job)
        numbers = [int(number) for number in re.findall(r"\d+", str(refused.value).replace(",", ""))]
        assert limit in numbers, "the refusal must name the limit"
        assert max(numbers) > limit, "the refusal must name the size of the payload"
        assert launcher.find(job.key) is None, "a job that was refused was not launched"
        assert sorted(leftovers()) == before, "a refused job left something behind"

    def test_what_cannot_be_launched_leaves_nothing_behind(
        self, launcher: Launcher, leftovers: Leftovers, bench: Workbench
    ) -> None:
        """Whatever the platform makes first, it goes again when the rest fails: `find` would take it for a job."""
        before = sorted(leftovers())
        job = bench.job("pass", env={"GIVEN": "x" * 1_000_000})  # far more than a process takes, and most platforms
        try:
            handle = bench.launch(launcher, job)
        except Exception:  # noqa: BLE001 - whatever it is, core then asks `find`
            assert bench.find(launcher, job.key) is None, "a launch failed, and `find` takes what it left for a job"
            assert sorted(leftovers()) == before, "a launch that failed left something behind"
        else:
            bench.wait_for_end(launcher, handle)

    def test_a_payload_within_the_limit_arrives_whole(self, launcher: Launcher, bench: Workbench) -> None:
        if launcher.payload_limit is None:
            pytest.skip("this launcher states no limit")
        given = "x" * min(launcher.payload_limit // 2, 100_000)  # Linux takes 128 KiB in one variable
        _, lines = bench.run(launcher, bench.job(ECHO, env={"GIVEN": given}))
        assert lines == _echoed((), given), "a payload of half the limit did not arrive whole"

    def test_secrets_reach_the_job_or_are_refused(
        self, launcher: Launcher, leftovers: Leftovers, bench: Workbench
    ) -> None:
        before = sorted(leftovers())
        job = bench.job(ECHO, secrets={"GIVEN": "hush-4711"})
        if launcher.secrets == "none":
            with pytest.raises(LaunchRefused) as refused:
                bench.launch(launcher, job)
            assert "hush-4711" not in str(refused.value), "the refusal tells the secret"
            assert launcher.find(job.key) is None, "a job that was refused was not launched"
            assert sorted(leftovers()) == before, "a refused job left something behind"
            return
        handle = bench.launch(launcher, job)
        assert "hush-4711" not in handle, "the handle tells the secret"
        assert bench.drain(launcher, handle) == _echoed((), "hush-4711"), "the secret did not reach the job"
