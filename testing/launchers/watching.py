"""The rules of `poll` and `logs`: how a job fares, what it prints, and when that is all."""

# ruff: noqa: D102 - the name of a rule is its sentence

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import pytest

from poolform.core.runs.launchers import Notifies
from poolform.testing.launchers.platform import SLEEPER, Platform

if TYPE_CHECKING:
    from poolform.core.runs.launchers import Launcher
    from poolform.testing.launchers.jobs import Workbench
    from poolform.testing.launchers.platform import Connect

# Many lines, then the end at once, with no newline: who stops reading when the job has exited loses some.
CHATTER = "for n in range(2000): print('line', n)\nprint('no newline', end='')"
# A line, a pause, a line in two pieces with another pause between.
LATE = (
    "import time\nprint('first', flush=True)\ntime.sleep(0.6)\n"
    "print('sec', end='', flush=True)\ntime.sleep(0.3)\nprint('ond')"
)
LANGUAGES = (
    "import os\nos.write(1, 'Grüße, 世界 \\N{ROCKET}\\n'.encode())\nos.write(2, 'stderr: é\\n'.encode())\n"
    "os.write(1, b'\\xff broken\\n')\nos.write(1, b'x' * 10_000 + b'\\n')"
)


class Watching(Platform):
    """Exit codes, statuses in batches, and a log that loses and repeats nothing."""

    @pytest.mark.parametrize("code", [0, 1, 7, 255])
    def test_the_exit_code_is_that_of_the_process(self, launcher: Launcher, bench: Workbench, code: int) -> None:
        status, _ = bench.run(launcher, bench.job(f"import sys; sys.exit({code})"))
        assert status.exit_code == code, f"the process exited {code}, poll says {status.exit_code}"

    @pytest.mark.parametrize("number", [9, 15])
    def test_a_signal_is_128_and_its_number(self, launcher: Launcher, bench: Workbench, number: int) -> None:
        status, _ = bench.run(launcher, bench.job(f"import os; os.kill(os.getpid(), {number})"))
        assert status.exit_code == 128 + number, f"killed by signal {number}, poll says {status.exit_code}"

    def test_poll_answers_for_all_it_is_asked_about(self, launcher: Launcher, bench: Workbench) -> None:
        lives = bench.launch(launcher, bench.job(SLEEPER))
        ended = bench.launch(launcher, bench.job("import sys; sys.exit(3)"))
        bench.wait_for_end(launcher, ended)
        bench.wait_for_line(launcher, lives)
        statuses = launcher.poll([ended, lives])
        assert set(statuses) == {ended, lives}, "poll must answer for every handle it was asked about"
        assert (statuses[ended].state, statuses[ended].exit_code) == ("exited", 3)
        assert statuses[lives].state == "running", "a job that has printed something runs"
        assert statuses[lives].exit_code is None, "a job that lives has no exit code"
        assert set(launcher.poll([ended])) == {ended}, "poll must answer only for what it was asked about"
        assert dict(launcher.poll([])) == {}, "poll of nothing is nothing"

    def test_poll_leaves_out_what_is_gone(self, launcher: Launcher, bench: Workbench) -> None:
        gone, ended = (bench.launch(launcher, bench.job("pass")) for _ in range(2))
        bench.wait_for_end(launcher, gone)
        bench.wait_for_end(launcher, ended)
        launcher.remove(gone)
        assert set(launcher.poll([gone, ended])) == {ended}, "a job that was removed must be left out of the answer"

    def test_an_end_is_heard_of(self, launcher: Launcher, bench: Workbench) -> None:
        if not isinstance(launcher, Notifies):
            pytest.skip("this launcher does not notify")
        handle = bench.launch(launcher, bench.job("pass"))
        readable, _, _ = select.select([launcher.fileno()], [], [], self.patience)
        assert readable, "the descriptor of `fileno` stayed silent when a job ended"
        assert bench.wait_for_end(launcher, handle).exit_code == 0

    # -- logs ----------------------------------------------------------------------------------------------------

    def test_every_line_comes_once_and_in_order(self, launcher: Launcher, bench: Workbench) -> None:
        _, lines = bench.run(launcher, bench.job(CHATTER))
        expected = [*(f"line {n}" for n in range(2000)), "no newline"]
        assert lines == expected, f"{len(lines)} of 2001 lines came before `done`, or they came in another order"

    def test_a_log_is_not_done_while_the_job_lives(self, launcher: Launcher, bench: Workbench) -> None:
        handle = bench.launch(launcher, bench.job(SLEEPER))
        bench.wait_for_line(launcher, handle)
        lines, cursor, done = bench.read(launcher, handle)
        assert [line.text for line in lines] == ["running"], "a cursor of None is the start of the log"
        assert not done, "a job that lives can still print: its log is not done"
        lines, _, done = bench.read(launcher, handle, cursor)
        assert (lines, done) == ([], False), "nothing was printed since that cursor"

    def test_a_cursor_goes_on_where_it_stopped(self, launcher: Launcher, connect: Connect, bench: Workbench) -> None:
        handle = bench.launch(launcher, bench.job(LATE))
        bench.wait_for_line(launcher, handle)
        _, cursor, _ = bench.read(launcher, handle)
        other = connect()  # another worker reads on
        late, cursor = bench.read_on(other, handle, cursor)
        assert late == ["second"], "after a cursor come the lines printed since, whole, and none of them twice"
        lines, _, done = bench.read(other, handle, cursor)
        assert (lines, done) == ([], True), "a log that was done stays so, and has nothing more"
        assert bench.drain(other, handle) == ["first", "second"], "a cursor of None is the start, as often as asked"
        other.close()

    def test_output_may_be_in_any_language(self, launcher: Launcher, bench: Workbench) -> None:
        status, lines = bench.run(launcher, bench.job(LANGUAGES))
        assert status.exit_code == 0
        assert "Grüße, 世界 \N{ROCKET}" in lines, "output that is not ASCII must come through as it is"
        assert "stderr: é" in lines, "what goes to stderr belongs to the log"
        assert any(line.endswith(" broken") for line in lines), "bytes that are no UTF-8 must not cost the line"
        assert "x" * 10_000 in lines, "a long line must come through whole"
