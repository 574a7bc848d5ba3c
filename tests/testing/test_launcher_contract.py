"""The launcher contract proves itself: a launcher that keeps it passes, and one that breaks a rule fails that rule.

The example runs jobs as processes, each in a folder that is named by its key and is all that there is of it.
"""

from __future__ import annotations

import codecs
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from poolform.core.pools.contract import JobVariables, PoolType
from poolform.core.runs.launchers import Job, JobStatus, Launcher, LaunchRefused, LogLine, LogPage
from poolform.testing.launchers import LauncherContract
from poolform.testing.launchers.launching import Launching
from poolform.testing.launchers.platform import Platform

pytestmark = pytest.mark.slow

# Outlives the launcher that started it; forwards the first SIGTERM to the job and kills it half a second later.
SUPERVISOR = """
import json, os, signal, subprocess, sys, time
folder, told = sys.argv[1], []
signal.signal(signal.SIGTERM, lambda *_: told.append(time.monotonic()))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # a fresh child forgets what reaches it too early
pid = os.fork()
if pid:
    with open("pid.new", "w") as file:
        file.write(str(pid))
    os.rename("pid.new", "pid")
    os._exit(0)
os.setsid()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
job = json.load(open("job.json"))
env = {"PATH": os.environ["PATH"], **job["env"], **job["secrets"]}
with open("log", "ab") as log:
    try:
        child = subprocess.Popen(job["command"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
    except FileNotFoundError:
        code = 127
    else:
        asked = False
        while child.poll() is None:
            time.sleep(0.01)
            if told and not asked:
                child.terminate()
                asked = True
            if told and time.monotonic() > told[0] + 0.5:
                child.kill()
        code = child.returncode if child.returncode >= 0 else 128 - child.returncode
with open("exit.new", "w") as file:
    file.write(str(code))
os.rename("exit.new", "exit")
"""


class ExampleLauncher(Launcher):
    """Keeps the contract; the simplest that does."""

    secrets = "plain"
    payload_limit = 60_000
    threads = 4

    def __init__(self, root):
        self.root = Path(root)

    def launch(self, job):
        size = sum(map(len, map(os.fsencode, (*job.command, *job.env, *job.env.values()))))
        if size > self.payload_limit:
            raise LaunchRefused(f"The job's payload is {size:,} bytes; at most {self.payload_limit:,} are taken.")
        folder = self.folder(job)
        try:
            folder.mkdir()
        except FileExistsError:
            return folder.name
        self.start(folder, job)
        return folder.name

    def folder(self, job):
        return self.root / job.key

    def start(self, folder, job):
        (folder / "job.json").write_text(job.to_json())
        subprocess.run([sys.executable, "-c", SUPERVISOR, str(folder)], cwd=folder, check=True)

    def find(self, key):
        return key if (self.root / key).exists() else None

    def poll(self, handles):
        return {handle: self.status(self.root / handle) for handle in handles if (self.root / handle).exists()}

    def status(self, folder):
        code = self.exit_code(folder)
        return JobStatus("running") if code is None else JobStatus("exited", code)

    def exit_code(self, folder):
        return int((folder / "exit").read_text()) if (folder / "exit").exists() else None

    def logs(self, handle, cursor):
        folder = self.root / handle
        done = self.exit_code(folder) is not None  # before reading: what is printed after this question is not lost
        log = folder / "log"
        data = log.read_bytes()[cursor or 0 :] if log.exists() else b""
        whole = data if done else data[: data.rfind(b"\n") + 1]
        lines = [LogLine(line) for line in self.decode(whole).splitlines()]
        return LogPage(lines, (cursor or 0) + len(whole), done)

    def decode(self, data):
        return codecs.decode(data, "utf-8", "replace")

    def cancel(self, handle):
        folder = self.root / handle
        if folder.exists() and self.exit_code(folder) is None:
            while not (folder / "pid").exists():
                time.sleep(0.01)
            os.kill(int((folder / "pid").read_text()), signal.SIGTERM)

    def remove(self, handle):
        shutil.rmtree(self.root / handle, ignore_errors=True)


class ExampleJobVariables(JobVariables):
    memory: int | None = None


class ExamplePoolType(PoolType):
    slug = "example"
    title = "Example"
    job_variables = ExampleJobVariables

    def launcher(self, connection, credential):
        return ExampleLauncher(connection.settings["root"])


class OnExamples(Platform):
    pool_type = ExamplePoolType
    launcher_class = ExampleLauncher
    patience = 10.0

    @pytest.fixture
    def platform(self, tmp_path):
        root = tmp_path / "platform"
        root.mkdir()
        return root

    @pytest.fixture
    def connect(self, platform):
        return lambda: self.launcher_class(platform)

    @pytest.fixture
    def leftovers(self, platform):
        return lambda: [path.name for path in platform.iterdir()]


class TestExampleLauncher(OnExamples, LauncherContract):
    pass


class RefusesSecrets(ExampleLauncher):
    secrets = "none"

    def launch(self, job):
        if job.secrets:
            raise LaunchRefused("This platform has no place for secrets.")
        return super().launch(job)


class TestLauncherWithoutSecrets(OnExamples, Launching):
    launcher_class = RefusesSecrets


# -- one way of breaking each rule ---------------------------------------------------------------------------------

BROKEN = {}


def breaks(*rules):
    """Register a launcher as breaking these rules."""

    def register(launcher):
        BROKEN[launcher] = rules
        return launcher

    return register


@breaks("test_arguments_and_environment_arrive_as_they_were_sent")
class UsesAShell(ExampleLauncher):
    def start(self, folder, job):
        shell = ("sh", "-c", " ".join(f'"{word}"' for word in job.command))
        super().start(folder, Job(job.key, job.name, shell, job.configuration, job.env))


@breaks("test_a_job_of_the_pool_type_runs")
class NeedsWhatNobodyHasSet(ExampleLauncher):
    def launch(self, job):
        assert job.configuration["memory"] > 0
        return super().launch(job)


@breaks("test_what_cannot_be_launched_leaves_nothing_behind")
class MakesItsFolderFirst(ExampleLauncher):
    def launch(self, job):
        self.folder(job).mkdir(exist_ok=True)
        return super().launch(job)


@breaks("test_a_program_that_is_not_there_never_succeeds")
class CallsAMissingProgramASuccess(ExampleLauncher):
    def exit_code(self, folder):
        return {127: 0}.get(code := super().exit_code(folder), code)


@breaks(
    "test_launching_twice_starts_one_job",
    "test_launching_again_after_the_end_starts_nothing",
    "test_another_launcher_starts_no_second_job",
    "test_two_launchers_at_once_start_one_job",
)
class NewJobEachTime(ExampleLauncher):
    def folder(self, job):
        return self.root / f"{job.key}-{time.monotonic_ns()}"


@breaks("test_launching_twice_starts_one_job")
class OneHandleTwoJobs(ExampleLauncher):
    def launch(self, job):
        again = self.folder(job).exists()
        handle = super().launch(job)
        if again:
            self.start(self.folder(job), job)
        return handle


@breaks("test_launching_again_after_the_end_starts_nothing")
class RestartsWhatHasEnded(ExampleLauncher):
    def launch(self, job):
        if self.folder(job).exists() and self.exit_code(self.folder(job)) is not None:
            self.remove(job.key)
        return super().launch(job)


@breaks("test_another_launcher_starts_no_second_job", "test_find_knows_what_was_launched")
class RemembersOnlyInMemory(ExampleLauncher):
    def __init__(self, root):
        super().__init__(root)
        self.mine = {}

    def launch(self, job):
        if job.key not in self.mine:
            self.mine[job.key] = f"{job.key}-{id(self)}"
        return super().launch(job)

    def folder(self, job):
        return self.root / self.mine[job.key]

    def find(self, key):
        return self.mine.get(key)


@breaks("test_two_launchers_at_once_start_one_job")
class LooksThenLeaps(ExampleLauncher):
    def launch(self, job):
        if self.find(job.key):
            return job.key
        time.sleep(0.3)  # the race, made certain
        self.folder(job).mkdir(exist_ok=True)
        self.start(self.folder(job), job)
        return job.key


@breaks("test_other_keys_are_other_jobs", "test_as_many_threads_may_launch_as_it_says")
class OneNameForAll(ExampleLauncher):
    def folder(self, job):
        return self.root / "job"


@breaks("test_find_is_sure_about_what_was_not_launched")
class FindsTheRunAndNotTheAttempt(ExampleLauncher):
    def find(self, key):
        return next((path.name for path in self.root.glob(f"{key.split('.')[0]}*")), None)


@breaks("test_find_is_sure_about_what_was_not_launched")
class FindsByPrefix(ExampleLauncher):
    def find(self, key):
        return next((path.name for path in self.root.iterdir() if key.startswith(path.name)), None)


@breaks("test_a_payload_over_the_limit_is_refused_before_launch")
class HasALimitAndForgetsIt(ExampleLauncher):
    def launch(self, job):
        folder = self.folder(job)
        if not folder.exists():
            folder.mkdir()
            self.start(folder, job)
        return folder.name


@breaks("test_a_payload_over_the_limit_is_refused_before_launch")
class RefusesWithoutNumbers(ExampleLauncher):
    def launch(self, job):
        try:
            return super().launch(job)
        except LaunchRefused:
            raise LaunchRefused("The job is too big.") from None


@breaks("test_a_payload_over_the_limit_is_refused_before_launch")
class LeavesRefusedJobsBehind(ExampleLauncher):
    def launch(self, job):
        (self.root / f"upload-{job.key}").touch()
        handle = super().launch(job)
        (self.root / f"upload-{job.key}").unlink(missing_ok=True)
        return handle


@breaks("test_a_payload_within_the_limit_arrives_whole")
class CutsPayloads(ExampleLauncher):
    def start(self, folder, job):
        env = {name: value[:4096] for name, value in job.env.items()}
        super().start(folder, Job(job.key, job.name, job.command, job.configuration, env))


@breaks("test_secrets_reach_the_job_or_are_refused")
class LosesSecrets(ExampleLauncher):
    def start(self, folder, job):
        super().start(folder, Job(job.key, job.name, job.command, job.configuration, job.env))


@breaks("test_secrets_reach_the_job_or_are_refused")
class TakesSecretsItCannotKeep(ExampleLauncher):
    secrets = "none"


@breaks("test_secrets_reach_the_job_or_are_refused")
class TellsTheSecretItRefuses(ExampleLauncher):
    secrets = "none"

    def launch(self, job):
        if job.secrets:
            raise LaunchRefused(f"This platform has no place for {dict(job.secrets)}.")
        return super().launch(job)


@breaks("test_the_exit_code_is_that_of_the_process")
class KnowsOnlySuccessAndFailure(ExampleLauncher):
    def exit_code(self, folder):
        return None if (code := super().exit_code(folder)) is None else int(code != 0)


@breaks("test_a_signal_is_128_and_its_number")
class SaysSignalsAsPythonDoes(ExampleLauncher):
    def exit_code(self, folder):
        code = super().exit_code(folder)
        return 128 - code if code and 128 < code < 160 else code


@breaks("test_poll_answers_for_all_it_is_asked_about")
class AnswersForTheFirstOnly(ExampleLauncher):
    def poll(self, handles):
        return super().poll(handles[:1])


@breaks("test_poll_answers_for_all_it_is_asked_about")
class AnswersForEverything(ExampleLauncher):
    def poll(self, handles):
        return super().poll([path.name for path in self.root.iterdir()])


@breaks("test_poll_answers_for_all_it_is_asked_about")
class NeverSaysRunning(ExampleLauncher):
    def status(self, folder):
        status = super().status(folder)
        return JobStatus("starting") if status.state == "running" else status


@breaks("test_poll_leaves_out_what_is_gone")
class CallsTheGoneFailed(ExampleLauncher):
    def poll(self, handles):
        return {**dict.fromkeys(handles, JobStatus("exited", 1)), **super().poll(handles)}


@breaks("test_every_line_comes_once_and_in_order")
class StopsReadingWhenTheJobExits(ExampleLauncher):
    def logs(self, handle, cursor):
        if self.exit_code(self.root / handle) is not None:
            return LogPage([], cursor, done=True)
        return super().logs(handle, cursor)


@breaks("test_every_line_comes_once_and_in_order")
class ForgetsTheLastLineWithoutANewline(ExampleLauncher):
    def logs(self, handle, cursor):
        page = super().logs(handle, cursor)
        lines = [line for line in page.lines if line.text != "no newline"]
        return LogPage(lines, page.cursor, page.done)


@breaks("test_a_log_is_not_done_while_the_job_lives", "test_a_cursor_goes_on_where_it_stopped")
class DoneWhenNothingIsNew(ExampleLauncher):
    def logs(self, handle, cursor):
        page = super().logs(handle, cursor)
        return LogPage(page.lines, page.cursor, done=not page.lines)


@breaks("test_a_log_is_not_done_while_the_job_lives", "test_a_cursor_goes_on_where_it_stopped")
class AlwaysReadsFromTheStart(ExampleLauncher):
    def logs(self, handle, cursor):
        return super().logs(handle, None)


@breaks("test_a_cursor_goes_on_where_it_stopped")
class CutsLinesInTwo(ExampleLauncher):
    def logs(self, handle, cursor):
        page = super().logs(handle, cursor)
        data = (self.root / handle / "log").read_bytes()[page.cursor :]
        rest = [LogLine(line) for line in self.decode(data).splitlines()]
        return LogPage([*page.lines, *rest], page.cursor + len(data), page.done)


@breaks("test_a_cursor_goes_on_where_it_stopped")
class KeepsTheCursorToItself(ExampleLauncher):
    def __init__(self, root):
        super().__init__(root)
        self.places = {}

    def logs(self, handle, cursor):
        page = super().logs(handle, self.places.get(handle))
        self.places[handle] = page.cursor
        return LogPage(page.lines, None, page.done)


@breaks("test_output_may_be_in_any_language")
class SpeaksLatin(ExampleLauncher):
    def decode(self, data):
        return data.decode("latin-1")


@breaks("test_output_may_be_in_any_language")
class DiesOfBrokenBytes(ExampleLauncher):
    def decode(self, data):
        return data.decode()


@breaks("test_cancel_ends_a_job_in_the_end")
class OnlyAsks(ExampleLauncher):
    def cancel(self, handle):
        pass


@breaks("test_cancel_ends_a_job_in_the_end")
class CancelsOnce(ExampleLauncher):
    def cancel(self, handle):
        (self.root / handle / "cancelled").mkdir()
        super().cancel(handle)


@breaks("test_cancel_ends_a_job_in_the_end")
class CallsTheCancelledCompleted(ExampleLauncher):
    def exit_code(self, folder):
        return 0 if (code := super().exit_code(folder)) in (137, 143) else code


@breaks("test_cancel_of_what_has_ended_changes_nothing")
class CancelsThePast(ExampleLauncher):
    def cancel(self, handle):
        super().cancel(handle)
        if (self.root / handle / "exit").exists():
            (self.root / handle / "exit").write_text("143")


@breaks("test_cancel_of_what_is_gone_is_fine")
class FailsToCancelWhatIsGone(ExampleLauncher):
    def cancel(self, handle):
        (self.root / handle / "job.json").read_text()
        super().cancel(handle)


@breaks("test_remove_twice_is_fine")
class RemovesOnce(ExampleLauncher):
    def remove(self, handle):
        shutil.rmtree(self.root / handle)


@breaks("test_remove_leaves_nothing_behind")
class KeepsTheLog(ExampleLauncher):
    def remove(self, handle):
        if (self.root / handle).exists():
            shutil.copy(self.root / handle / "log", self.root / f"{handle}.log")
        super().remove(handle)


@breaks("test_jobs_go_on_when_the_launcher_is_closed")
class TakesItsJobsAlong(ExampleLauncher):
    def close(self):
        for folder in self.root.iterdir():
            self.cancel(folder.name)


for broken in BROKEN:
    # Not collected here, for want of a name that begins with Test; the test below asks for each by its own.
    globals()[f"Contract{broken.__name__}"] = type(
        f"Contract{broken.__name__}", (OnExamples, LauncherContract), {"launcher_class": broken, "patience": 1.5}
    )


def test_each_broken_launcher_fails_the_rule_that_it_breaks(tmp_path):
    """One test for all: they are run by one pytest, which costs as much as all of them."""
    rules = [(launcher.__name__, rule) for launcher, rules in BROKEN.items() for rule in rules]
    report = tmp_path / "report.xml"
    nodes = [f"{__file__}::Contract{launcher}::{rule}" for launcher, rule in rules]
    quiet = ("-q", "-o", "python_classes=Contract", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no")
    command = [sys.executable, "-m", "pytest", *quiet, f"--junitxml={report}", *nodes]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    failed = {
        (case.get("classname").rsplit(".Contract")[-1], case.get("name").split("[")[0])
        for case in ET.parse(report).iter("testcase")
        if case.find("failure") is not None
    }
    assert [pair for pair in rules if pair not in failed] == []


def test_every_rule_has_a_launcher_that_breaks_it():
    rules = {name for name in dir(LauncherContract) if name.startswith("test_")}
    notifying = {"test_an_end_is_heard_of"}  # the example does not notify
    assert rules - notifying == {rule for broken in BROKEN.values() for rule in broken}
