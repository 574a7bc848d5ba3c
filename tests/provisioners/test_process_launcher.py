"""The process launcher with real processes, each of which is killed at the worst moment."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from poolform.core.runs.bootstrap import StartsRuntime, runtime_command
from poolform.core.runs.launchers import Job, LaunchRefused, Notifies
from poolform.provisioners.process.launcher import ProcessLauncher
from poolform.provisioners.process.leaders import Leader
from poolform.provisioners.process.logfile import LINE_BYTES, PAGE_BYTES, PAGE_LINES, page
from poolform.provisioners.process.watching import process_launcher
from poolform.provisioners.process.wrapper import SCRIPT

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and pidfds")


def make_job(*command: str, key: str = "abc.1", env=None, secrets=None, unset=(), **configuration) -> Job:
    configuration["env"] = {**(env or {}), **dict.fromkeys(unset)}
    return Job(key, "trial", command, configuration, env=env or {}, secrets=secrets or {})


def python(code: str, **options) -> Job:
    return make_job(sys.executable, "-S", "-c", code, **options)


@pytest.fixture
def folder(tmp_path: Path):
    yield tmp_path / "jobs"
    for claim in (tmp_path / "jobs").glob("*/pid"):
        leader = Leader.parse(claim.read_text())
        if leader is not None:
            leader.end_group()


@pytest.fixture
def launcher(folder: Path):
    launcher = process_launcher(folder, grace=0.5)
    yield launcher
    launcher.close()


def wait(launcher, handle="abc.1", *, state="exited", seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = launcher.poll([handle]).get(handle)
        if status is not None and status.state == state:
            return status
        time.sleep(0.01)
    raise AssertionError(f"not {state} within {seconds} s: {status}")


def wait_for(path: Path, seconds=20.0) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{path} is not there")


def output(launcher, handle="abc.1") -> list[str]:
    lines, cursor, done = [], None, False
    while not done:
        got = launcher.logs(handle, cursor)
        lines += [line.text for line in got.lines]
        cursor, done = json.loads(json.dumps(got.cursor)), got.done
    return lines


# -- starting


def test_a_flow_runs_with_its_log_and_exit_code(launcher, tmp_path):
    (tmp_path / "flow.py").write_text("def run(n): print('n is', n); return 1")
    env = {"POOLFORM_ENTRYPOINT": "flow.py:run", "POOLFORM_PARAMETERS": '{"n": 3}', "POOLFORM_FLOW_NAME": "run"}
    env["POOLFORM_SOURCE"] = json.dumps({"type": "local", "path": str(tmp_path)})
    assert isinstance(launcher, StartsRuntime)
    assert launcher.launch(make_job(*runtime_command(launcher), env=env)) == "abc.1"
    assert wait(launcher).exit_code == 0
    assert output(launcher)[1:] == ["n is 3", 'poolform: {"event":"completed"}']


@pytest.mark.parametrize(
    ("code", "expected"), [("pass", 0), ("raise SystemExit(9)", 9), ("import os; os.kill(0, 9)", None)]
)
def test_exit_codes(launcher, code, expected):
    launcher.launch(python(code))
    assert wait(launcher).exit_code == expected


def test_a_job_that_kills_itself_has_the_signals_code(launcher):
    launcher.launch(python("import os; os.kill(os.getpid(), 11)"))
    assert wait(launcher).exit_code == 128 + 11


RACE = """
import sys
from pathlib import Path
from poolform.core.runs.launchers import Job
from poolform.provisioners.process.watching import process_launcher
launcher = process_launcher(Path(sys.argv[1]))
job = Job.from_json(sys.argv[2])
sys.stdin.read(1)
print(launcher.launch(job))
launcher.close()
"""


@pytest.mark.slow
def test_of_many_dispatchers_that_launch_at_once_one_starts_the_job(launcher, folder, tmp_path):
    marker = tmp_path / "marker"
    job = python(f"open({str(marker)!r}, 'a').write('x')")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(folder), job.to_json()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(6)
    ]
    time.sleep(0.5)  # all are waiting at the line
    handles = [racer.communicate(b"x")[0] for racer in racers]
    assert handles == [b"abc.1\n"] * 6
    assert wait(launcher).exit_code == 0
    time.sleep(0.2)
    assert marker.read_text() == "x"


def test_a_crash_before_the_wrapper_was_started_is_launched_again(launcher, folder):
    (folder / "abc.1").mkdir(parents=True)  # all that a dispatcher had done when it was killed
    assert launcher.find("abc.1") is None
    launcher.launch(python("raise SystemExit(4)"))
    assert wait(launcher).exit_code == 4


def test_a_crash_after_the_wrapper_was_started_finds_the_job(launcher, folder, tmp_path):
    marker = tmp_path / "marker"
    job = python(f"open({str(marker)!r}, 'a').write('x')")
    killed = RACE.replace("print(launcher.launch(job))", "launcher.launch(job); import os; os.kill(os.getpid(), 9)")
    subprocess.run([sys.executable, "-c", killed, str(folder), job.to_json()], input=b"x", check=False)
    launcher.launch(job)
    assert launcher.find("abc.1") == "abc.1"
    assert wait(launcher).exit_code == 0
    time.sleep(0.1)
    assert marker.read_text() == "x"


def test_the_exit_code_is_kept_while_no_dispatcher_lives(folder):
    first = process_launcher(folder)
    first.launch(python("import time; time.sleep(0.3); print('done'); raise SystemExit(7)"))
    first.close()
    wait_for(folder / "abc.1" / "exit")
    second = process_launcher(folder)
    assert second.find("abc.1") == "abc.1"
    assert second.poll(["abc.1"])["abc.1"].exit_code == 7
    assert output(second) == ["done"]
    second.close()


def test_a_wrapper_that_was_killed_before_it_claimed_its_job_leaves_it_to_the_next(launcher, folder, monkeypatch):
    stuck = SCRIPT.replace("set -C\n", "set -C\nsleep 60\n", 1)
    monkeypatch.setattr("poolform.provisioners.process.launcher.SCRIPT", stuck)
    launcher.launch(python("raise SystemExit(4)"))
    assert launcher.poll(["abc.1"])["abc.1"].state == "starting"
    assert launcher.find("abc.1") == "abc.1"
    os.killpg(launcher._children["abc.1"].pid, signal.SIGKILL)
    launcher._children["abc.1"].wait()
    monkeypatch.setattr("poolform.provisioners.process.launcher.SCRIPT", SCRIPT)
    assert launcher.poll(["abc.1"]) == {}
    assert launcher.find("abc.1") is None
    launcher.launch(python("raise SystemExit(4)"))
    assert wait(launcher).exit_code == 4


def test_a_wrapper_that_was_killed_while_it_claimed_its_job_is_a_lost_job(folder):
    (folder / "abc.1").mkdir(parents=True)
    (folder / "abc.1" / "pid").touch()  # opened, not written
    launcher = ProcessLauncher(folder)
    assert launcher.find("abc.1") == "abc.1"
    assert launcher.poll(["abc.1"])["abc.1"].state == "starting"
    os.utime(folder / "abc.1" / "pid", (0, 0))
    status = launcher.poll(["abc.1"])["abc.1"]
    assert (status.state, status.exit_code) == ("exited", None)


# -- losing


def test_a_killed_wrapper_takes_its_child_along_and_says_so(launcher, folder):
    launcher.launch(python("import os, time; print(os.getpid(), flush=True); time.sleep(60)"))
    child = int(wait_for(folder / "abc.1" / "log"))
    leader = Leader.parse((folder / "abc.1" / "pid").read_text())
    os.kill(leader.pid, signal.SIGKILL)
    status = wait(launcher)
    assert status.exit_code is None
    assert status.reason == "its supervising process was killed by SIGKILL, so the job was ended"
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and " Z " not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.01)


def test_a_dispatcher_that_did_not_start_the_wrapper_sees_it_killed_too(launcher, folder):
    launcher.launch(python("import time; time.sleep(60)"))
    leader = Leader.parse(wait_for(folder / "abc.1" / "pid"))
    other = process_launcher(folder)
    assert other.poll(["abc.1"])["abc.1"].state == "running"
    os.killpg(leader.pid, signal.SIGKILL)
    status = wait(other)
    assert status.reason == "its supervising process was killed or the machine restarted, so the job was ended"
    other.close()


@linux
def test_a_pid_that_is_used_again_is_not_the_jobs(launcher, folder):
    """The folder of a job from before a reboot, whose wrapper's pid now belongs to this very test."""
    launcher.launch(python("pass"))
    wait(launcher)
    record = (folder / "abc.1" / "pid").read_text().split()
    path = folder / "old.1"
    path.mkdir()
    (path / "pid").write_text(" ".join([str(os.getpid()), *record[1:]]) + "\n")
    launcher.cancel("old.1")
    assert launcher.poll(["old.1"])["old.1"].state == "exited"
    launcher.remove("old.1")
    assert not path.exists()


def test_a_full_disk_does_not_lose_the_exit_code(launcher, folder, monkeypatch):
    broken = SCRIPT.replace('>"$folder/exit"', ">/dev/full")
    monkeypatch.setattr("poolform.provisioners.process.launcher.SCRIPT", broken)
    launcher.launch(python("raise SystemExit(6)"))
    status = wait(launcher)
    assert (status.exit_code, status.reason) == (6, "its exit code could not be written to disk")


# -- ending


def test_cancelling_reaches_the_whole_group_and_keeps_the_jobs_own_exit_code(launcher, folder):
    launcher.launch(make_job("sh", "-c", "trap 'echo stopping; exit 74' TERM; echo up; sleep 60 & wait"))
    wait_for(folder / "abc.1" / "log")
    launcher.cancel("abc.1")
    launcher.cancel("abc.1")
    assert wait(launcher).exit_code == 74
    assert output(launcher) == ["up", "stopping"]
    launcher.cancel("abc.1")


def test_what_does_not_stop_is_killed_without_anybody_waiting_for_it(launcher, folder):
    launcher.launch(make_job("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"))
    wait_for(folder / "abc.1" / "log")
    started = time.monotonic()
    launcher.cancel("abc.1")
    assert time.monotonic() - started < 0.3
    status = wait(launcher)
    assert (status.exit_code, status.reason) == (137, "killed: it did not stop within 0.5 s")


def test_a_cancellation_survives_the_dispatcher_that_asked_for_it(launcher, folder):
    launcher.launch(make_job("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"))
    wait_for(folder / "abc.1" / "log")
    launcher.cancel("abc.1")
    launcher.close()
    other = process_launcher(folder, grace=0.5)
    assert wait(other).exit_code == 137
    other.close()


def test_a_job_cancelled_before_its_wrapper_got_going_never_starts(launcher, folder, monkeypatch):
    slow = SCRIPT.replace('if [ -z "$stopped" ]', 'sleep 0.4\nif [ -z "$stopped" ]')
    monkeypatch.setattr("poolform.provisioners.process.launcher.SCRIPT", slow)
    launcher.launch(python("print('started')"))
    wait_for(folder / "abc.1" / "pid")
    launcher.cancel("abc.1")
    assert wait(launcher).exit_code == 143
    assert "started" not in output(launcher)


def test_removing_leaves_no_file_and_no_process(launcher, folder):
    """A flow may leave processes running in its group when it ends."""
    launcher.launch(make_job("sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"))
    wait(launcher)
    left = int(output(launcher)[0])
    os.kill(left, 0)
    launcher.remove("abc.1")
    launcher.remove("abc.1")
    assert list(folder.iterdir()) == []
    deadline = time.monotonic() + 5
    while Path(f"/proc/{left}").exists() and " Z " not in Path(f"/proc/{left}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert launcher.find("abc.1") is None


def test_a_removal_that_was_interrupted_is_finished_by_the_next(launcher, folder):
    launcher.launch(python("pass"))
    wait(launcher)
    (folder / ".removed-abc.1" / "left").mkdir(parents=True)
    launcher.remove("abc.1")
    assert list(folder.iterdir()) == []


def test_removing_all_stops_jobs_and_deletes_the_folder(launcher, folder):
    launcher.launch(make_job("sleep", "60"))
    launcher.launch(make_job("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done", key="def.1"))
    wait_for(folder / "def.1" / "pid")
    launcher.remove_all()
    assert not folder.exists()
    launcher.remove_all()


# -- noticing


@linux
def test_a_jobs_end_is_noticed_at_once_by_whoever_watches(launcher, folder):
    assert isinstance(launcher, Notifies)
    launcher.launch(python("import time; time.sleep(0.3)"))
    other = process_launcher(folder)
    wait_for(folder / "abc.1" / "pid")
    other.poll(["abc.1"])  # from now on it watches
    for each in (launcher, other):
        assert select.select([each], [], [], 20)[0]
        assert each.poll(["abc.1"])["abc.1"].state == "exited"
        assert not select.select([each], [], [], 0)[0]  # noticed once
    other.close()


@linux
def test_descriptors_are_given_back(launcher, folder):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        launcher.launch(make_job("true", key=f"job{number}.1"))
    for number in range(20):
        wait(launcher, f"job{number}.1")
        launcher.remove(f"job{number}.1")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_job_is_out_of_reach_of_the_dispatchers_ctrl_c(launcher, folder):
    launcher.launch(python("import os; print(os.getsid(0) == os.getppid(), os.getpgid(0) == os.getppid())"))
    wait(launcher)
    assert output(launcher) == ["True True"]


# -- environment


def test_the_environment_inherits_what_is_harmless_and_never_our_secrets(launcher, monkeypatch):
    for name in ("POOLFORM_SECRET_KEYS", "POOLFORM_DATABASE_URL", "TF_VAR_password", "TF_LOG", "PG_CONN_STR"):
        monkeypatch.setenv(name, "hidden")
    for name in ("KEPT", "UNSET", "REPLACED"):
        monkeypatch.setenv(name, "inherited")
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    env = {"REPLACED": "mine", "UNICODE": "ü🏔 \n two lines", "EMPTY": "", "POOLFORM_RUN_ID": "1"}
    launcher.launch(python(code, env=env, secrets={"TOKEN": "s3cret"}, unset=["UNSET"]))
    wait(launcher)
    seen = json.loads(output(launcher)[0])
    ours = {name for name in seen if name.startswith(("POOLFORM_", "TF_", "PG_CONN"))}
    assert ours <= {"POOLFORM_RUN_ID", "POOLFORM_SCRATCH"}
    assert (seen["KEPT"], seen["REPLACED"], seen["TOKEN"]) == ("inherited", "mine", "s3cret")
    assert (seen["UNICODE"], seen["EMPTY"]) == ("ü🏔 \n two lines", "")
    assert "UNSET" not in seen
    assert seen["PATH"] == os.environ["PATH"]
    assert seen["HOME"] == os.environ["HOME"]


@linux
def test_secrets_are_in_no_command_line_and_in_no_file(launcher, folder):
    launcher.launch(python("import time; print('up', flush=True); time.sleep(60)", secrets={"TOKEN": "s3cr3t-value"}))
    wait_for(folder / "abc.1" / "log")
    leader = Leader.parse((folder / "abc.1" / "pid").read_text())
    members = subprocess.run(
        ["pgrep", "-g", str(leader.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(members) == 2
    for member in members:
        assert b"s3cr3t" not in Path(f"/proc/{member}/cmdline").read_bytes()
    assert b"s3cr3t" not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert (folder / "abc.1").stat().st_mode & 0o777 == 0o700


def test_the_working_directory_is_the_one_asked_for_else_the_jobs_own(launcher, tmp_path, folder):
    code = "import os; print(os.getcwd(), os.environ.get('POOLFORM_WORKING_DIR'))"
    launcher.launch(python(code, working_dir=str(tmp_path)))
    launcher.launch(python(code, key="def.1"))
    wait(launcher)
    wait(launcher, "def.1")
    assert output(launcher) == [f"{tmp_path} {tmp_path}"]
    assert output(launcher, "def.1") == [f"{folder}/def.1 None"]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (make_job("no-such-program-here"), "There is no program no-such-program-here on the PATH of this machine."),
        (make_job("/no/such/file", working_dir="/nowhere"), "working_dir /nowhere is not a folder on this machine"),
        (make_job("true", env={"with.dot": "1"}), "'with.dot' cannot name an environment variable"),
        (make_job("true", env={"A": "a\0b"}), "The environment variable A holds a NUL character"),
        (make_job("true", env={"A": "ü" * 65536}), r"variable A takes 131,075 bytes; a process takes 131,072\."),
        (make_job("true", key="../escape"), "'../escape' cannot name a job's folder"),
    ],
)
def test_what_cannot_be_run_here_is_refused_before_anything_is_made(launcher, folder, job, message):
    with pytest.raises(LaunchRefused, match=message):
        launcher.launch(job)
    assert not folder.exists()


def test_the_largest_payload_fits(launcher):
    value = "x" * (128 * 1024 - len("A=") - 1)
    launcher.launch(python("import os; print(len(os.environ['A']))", env={"A": value}))
    wait(launcher)
    assert output(launcher) == [str(len(value))]


def test_a_program_named_like_a_shells_own_command_is_still_a_program(launcher, tmp_path, monkeypatch):
    program = tmp_path / "exit"
    program.write_text("#!/bin/sh\necho a program\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    launcher.launch(make_job("exit"))
    assert wait(launcher).exit_code == 0
    assert output(launcher) == ["a program"]


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LaunchRefused, match=r"cannot be started on this machine: Not a directory \("):
        ProcessLauncher(tmp_path / "file").launch(make_job("true"))


# -- logs


def test_logs_come_in_order_with_partial_lines_held_back(launcher, folder):
    launcher.launch(
        python("import sys, time; print('one'); print('two', end='', flush=True); time.sleep(1.0); print(' more')")
    )
    deadline = time.monotonic() + 20
    while b"two" not in (folder / "abc.1" / "log").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first = launcher.logs("abc.1", None)
    assert ([line.text for line in first.lines], first.done) == (["one"], False)
    again = launcher.logs("abc.1", first.cursor)
    assert (again.lines, again.cursor, again.done) == ([], first.cursor, False)
    wait(launcher)
    last = launcher.logs("abc.1", first.cursor)
    assert ([line.text for line in last.lines], last.done) == (["two more"], True)


def test_stdout_and_stderr_keep_their_order(launcher):
    launcher.launch(make_job("sh", "-c", "echo 1; echo 2 >&2; echo 3; echo 4 >&2"))
    wait(launcher)
    assert output(launcher) == ["1", "2", "3", "4"]


def test_without_stream_output_only_the_runtimes_lines_are_kept(launcher):
    launcher.launch(make_job("sh", "-c", 'echo noise; echo \'poolform: {"event":"completed"}\'', stream_output=False))
    wait(launcher)
    assert output(launcher) == ['poolform: {"event":"completed"}']


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"\n\n", ["", ""]),
        (b"a\r\nb\rc\n", ["a", "b\rc"]),
        (b"\xff\x00\xfe", ["���"]),
        ("ü🏔\n".encode() * 3, ["ü🏔"] * 3),
        (b"x" * (LINE_BYTES + 5) + b"\ny\n", ["x" * LINE_BYTES, "xxxxx", "y"]),
        (("a" + "ü" * LINE_BYTES).encode(), ["a" + "ü" * (LINE_BYTES // 2 - 1), "ü" * (LINE_BYTES // 2), "üü"[:1]]),
    ],
    ids=["nothing", "lines", "open_end", "empty_lines", "returns", "binary", "unicode", "long_line", "long_unicode"],
)
def test_a_log_of_any_bytes_becomes_lines(tmp_path, raw, lines):
    path = tmp_path / "log"
    path.write_bytes(raw)
    found, cursor, done = [], 0, False
    while not done:
        got = page(path, cursor, ended=True)
        found += [line.text for line in got.lines]
        cursor, done = got.cursor, got.done
    assert found == lines
    assert cursor == len(raw)


def test_pages_are_bounded_and_lose_nothing(tmp_path):
    path = tmp_path / "log"
    numbers = [str(number) for number in range(40_000)]
    path.write_text("\n".join(numbers) + "\n" + "y" * (3 * PAGE_BYTES) + "\n")
    found, cursor, done, pages = [], 0, False, 0
    while not done:
        got = page(path, cursor, ended=True)
        assert len(got.lines) <= PAGE_LINES
        assert sum(len(line.text) for line in got.lines) <= PAGE_BYTES
        found += [line.text for line in got.lines]
        cursor, done, pages = got.cursor, got.done, pages + 1
    assert found[:40_000] == numbers
    assert "".join(found[40_000:]) == "y" * (3 * PAGE_BYTES)
    assert pages > 8


def test_logs_of_a_job_that_is_gone_are_done(launcher):
    got = launcher.logs("gone.1", 17)
    assert (list(got.lines), got.cursor, got.done) == ([], 17, True)


# -- cost


@pytest.mark.skipif(shutil.which("true") is None, reason="needs a trivial program")
def test_a_launch_costs_the_dispatcher_less_than_5_ms_of_cpu(launcher):
    count = 30
    before = resource.getrusage(resource.RUSAGE_SELF)
    for number in range(count):
        launcher.launch(make_job("true", key=f"job{number}.1"))
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent / count < 0.005
    for number in range(count):
        wait(launcher, f"job{number}.1")
