"""What a managed process sees, may do and leaves: nothing of anybody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from managed.conftest import root

from poolform.core.runs.launchers import Job, LaunchRefused
from poolform.provisioners.managed import uv
from poolform.provisioners.managed.confinement import USERS, Limits, Users, confined
from poolform.provisioners.managed.processes import ManagedProcesses, managed_processes


def job(code="pass", *, key=None, command=None, env=(), secrets=(), **configuration):
    key = key or f"{time.time_ns()}.1"
    return Job(key, "trial", tuple(command or ("python", "-c", code)), configuration, dict(env), dict(secrets))


@pytest.fixture
def launcher(folder, index):
    launcher = managed_processes(folder, keep=3600.0, grace=1.0)
    yield launcher
    launcher.remove_all()
    launcher.close()


@pytest.fixture
def run(launcher):
    """Runs a job to its end; returns its exit code and its output."""

    def run(code="pass", **how):
        return end(launcher, launcher.launch(job(code, **how)))

    return run


def end(launcher, handle):
    deadline = time.monotonic() + 30
    while (status := launcher.poll([handle])[handle]).state != "exited":
        assert time.monotonic() < deadline, "it did not end"
        time.sleep(0.02)
    return status.exit_code, "\n".join(line.text for line in launcher.logs(handle, None).lines)


def lives(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def began(launcher, handle):
    while not (lines := launcher.logs(handle, None).lines):
        time.sleep(0.02)
    return lines[0].text


def test_packages_are_there_and_the_dispatcher_s_are_not(run):
    code, said = run("import acorn; print(acorn.VERSION)\nimport pydantic", pip_packages=["acorn"])
    assert code == 1
    assert "2.0" in said
    assert "No module named 'pydantic'" in said


def test_the_environment_is_clean(run, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-4711")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    _, said = run("import os, json; print(json.dumps(dict(os.environ)))", env={"GIVEN": "x"}, secrets={"TOKEN": "y"})
    seen = json.loads(said)
    assert "AWS_SECRET_ACCESS_KEY" not in seen
    assert (seen["TZ"], seen["GIVEN"], seen["TOKEN"]) == ("Europe/Berlin", "x", "y")
    assert seen["HOME"] == seen["TMPDIR"] == seen["POOLFORM_SCRATCH"]


def test_it_starts_in_a_folder_that_is_its_own_and_goes_with_it(launcher, folder):
    handle = launcher.launch(job("import os; open('file', 'w').write('x'); print(os.getcwd())"))
    code, said = end(launcher, handle)
    assert (code, said) == (0, str(folder / "scratch" / handle))
    launcher.remove(handle)
    assert not Path(said).exists()


def test_memory_is_limited(run):
    code, said = run("x = bytearray(200_000_000)", memory=100)
    assert code == 1
    assert "MemoryError" in said
    assert run("x = bytearray(50_000_000)", memory=100)[0] == 0


def test_cpus_are_limited(run):
    assert run("import os; print(len(os.sched_getaffinity(0)))", cpus=0.5) == (0, "1")


@pytest.mark.parametrize(("given", "limit", "used"), [(None, 5, "5"), ("3", 5, "3"), ("9", 5, "5"), ("9", None, "9")])
def test_time_is_limited_by_whichever_is_shorter(run, given, limit, used):
    env = {"POOLFORM_TIMEOUT_SECONDS": given} if given else {}
    how = {"time_limit": limit} if limit else {}
    assert run("import os; print(os.environ['POOLFORM_TIMEOUT_SECONDS'])", env=env, **how) == (0, used)


def running(launcher, code):
    """Return a command that runs a flow of this code with the launcher's own runtime."""
    return f"import pathlib; pathlib.Path('flow.py').write_text({code!r}); {launcher.runtime_command()[2]}"


def test_the_runtime_ends_a_flow_at_its_limit(launcher, run):
    flow = running(launcher, "import time\ndef sleeps():\n    time.sleep(60)\n")
    code, said = run(flow, env={"POOLFORM_ENTRYPOINT": "flow.py:sleeps"}, time_limit=0.5)
    assert code == 73
    assert "timed out after 0.5 s" in said


def test_a_flow_needs_no_poolform_of_its_own(launcher, run):
    """The runtime is beside the environment, and `from poolform import flow` works."""
    flow = running(launcher, "from poolform import flow\n@flow\ndef greet():\n    print('hello')\n")
    code, said = run(flow, env={"POOLFORM_ENTRYPOINT": "flow.py:greet"})
    assert code == 0
    assert "hello" in said
    assert '"event":"completed"' in said


def test_a_program_missing_on_this_machine_is_no_success(run):
    assert run(command=("no-such-program",))[0] != 0


def test_what_is_refused_leaves_nothing(launcher, folder):
    with pytest.raises(LaunchRefused):
        launcher.launch(job(env={"A": "x" * 200_000}))
    assert list(folder.glob("scratch/*")) == list(folder.glob("environments/uses/*")) == []


def test_deprovisioning_leaves_no_folder(launcher, folder):
    handle = launcher.launch(job("import time; print('on', flush=True); time.sleep(60)"))
    began(launcher, handle)
    launcher.remove_all()
    assert not folder.exists()


def test_without_a_user_of_its_own_a_job_is_the_dispatcher_s(folder, index):
    """As where the worker is not root."""
    launcher = ManagedProcesses(folder, keep=1.0)
    launcher._users = launcher._scratches.users = None
    assert end(launcher, launcher.launch(job("import os; print(os.geteuid())"))) == (0, str(os.geteuid()))
    launcher.remove_all()
    launcher.close()


DYING = """
import os, signal, sys
from pathlib import Path
from poolform.core.runs.launchers import Job
from poolform.provisioners.managed.confinement import Users
from poolform.provisioners.managed.processes import ManagedProcesses

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

folder, claims, where = sys.argv[1:]
users = Users(Path(claims)) if os.geteuid() == 0 else None
launcher = ManagedProcesses(Path(folder), keep=1.0, users=users)
if where == "making":  # after the user was taken, before the folder is there
    Path.rename = lambda self, target, rename=Path.rename: die() if self.name == ".new-dead.1" else rename(self, target)
else:  # after the folder was made, before the job's wrapper is started
    launcher._inner.launch = die
launcher.launch(Job("dead.1", "trial", ("true",), {}))
"""


@pytest.mark.parametrize(
    ("where", "then"),
    [("making", "cancelled"), ("launching", "cancelled"), ("launching", "launched"), ("making", "disconnected")],
)
def test_a_worker_killed_before_its_job_was_started_leaves_no_folder_and_no_user(folder, index, tmp_path, where, then):
    claims = tmp_path / "claims"
    killed = [sys.executable, "-c", DYING, str(folder), str(claims), where]
    assert subprocess.run(killed, check=False).returncode == -9
    made = [path.name for path in (folder / "scratch").iterdir() if "dead.1" in path.name]
    assert len(made) == 2, made
    assert len(list(claims.glob("*"))) == (os.geteuid() == 0)
    users = Users(claims) if os.geteuid() == 0 else None
    launcher = ManagedProcesses(folder, keep=1.0, users=users)
    assert launcher.find("dead.1") is None  # as whoever takes the run over asks; if it is cancelled, that is all
    if then == "launched":
        assert end(launcher, launcher.launch(job(key="dead.1"))) == (0, "")
        launcher.remove("dead.1")
    if then == "disconnected":
        subprocess.run(killed, check=False)
        launcher.remove_all()
        assert not folder.exists()
    else:
        assert [path for path in folder.rglob("*") if "dead.1" in path.name] == []
    assert list(claims.glob("*")) == []
    launcher.close()


def test_a_job_whose_worker_died_after_it_was_started_is_not_swept_away(launcher, folder):
    handle = launcher.launch(job("import time; print('on', flush=True); time.sleep(0.5); open('file', 'w')"))
    began(launcher, handle)
    note = folder / "scratch" / f".of-{handle}"
    note.unlink()
    note.symlink_to("4194399 never")  # a process that is not there
    assert launcher.find("another.1") is None
    assert end(launcher, handle)[0] == 0
    assert (folder / "scratch" / handle / "file").exists()


def test_a_command_without_limits_is_left_as_it_is():
    assert confined(["python"], Limits(), None, "k") == ["python"]


@root
class TestUsers:
    """Where the worker is root."""

    def test_each_job_is_a_user_that_nobody_else_is(self, launcher):
        handles = [launcher.launch(job("import os; print(os.getresuid(), os.getgroups())")) for _ in range(3)]
        said = {end(launcher, handle)[1] for handle in handles}
        assert len(said) == 3
        for line in said:
            users, groups = line.split(") ")
            assert len(set(users.strip("(").split(", "))) == 1
            assert int(users.strip("(").split(",")[0]) in USERS
            assert groups == "[]"

    @pytest.mark.parametrize("what", ["the home", "the keys", "the dispatcher's environment", "the jobs' files"])
    def test_nothing_of_poolform_s_can_be_read(self, run, home, folder, what):
        home.mkdir(mode=0o700)
        for name in ("poolform.db", "keys"):
            (home / name).write_text("secret")
            (home / name).chmod(0o644)
        path = {
            "the home": home / "poolform.db",
            "the keys": home / "keys",
            "the dispatcher's environment": Path(f"/proc/{os.getpid()}/environ"),
            "the jobs' files": folder / "jobs" / "someone.1" / "log",
        }[what]
        code, said = run(f"print(open({str(path)!r}).read())")
        assert code == 1
        assert "PermissionError" in said

    def test_nothing_of_another_job_s_can_be_read_nor_an_environment_written(self, launcher, run, folder):
        other = launcher.launch(job("import time; print('on', flush=True); time.sleep(60)"))
        began(launcher, other)
        code, said = run(f"import os; print(os.listdir('{folder}/scratch/{other}'))")
        assert (code, "PermissionError" in said) == (1, True)
        code, said = run("import sys; open(sys.prefix + '/new', 'w')", pip_packages=["acorn"])
        assert (code, "PermissionError" in said) == (1, True)
        code, said = run(f"import os; print(os.listdir('{folder}/scratch'))")
        assert (code, "PermissionError" in said) == (1, True)

    def test_it_can_become_nobody_else(self, run):
        code, said = run("import os; os.setuid(0)")
        assert (code, "PermissionError" in said) == (1, True)

    def test_a_process_that_hides_is_ended_with_its_job(self, launcher):
        code = "import os, time\nif os.fork() == 0: os.setsid(); print(os.getpid(), flush=True); time.sleep(600)"
        handle = launcher.launch(job(code))
        hidden = int(began(launcher, handle))
        end(launcher, handle)
        assert lives(hidden)
        launcher.remove(handle)
        deadline = time.monotonic() + 5
        while lives(hidden):
            assert time.monotonic() < deadline, "it still hides"
            time.sleep(0.02)

    def test_a_secret_is_on_no_command_line(self, launcher):
        code = "import time; print('on', flush=True); time.sleep(60)"
        began(launcher, launcher.launch(job(code, secrets={"TOKEN": "hush-4711"})))
        said = subprocess.run(["ps", "-ef", "-ww"], capture_output=True, text=True, check=True).stdout
        assert "hush-4711" not in said

    def test_ids_are_given_back(self, tmp_path):
        users = Users(tmp_path / "claims")
        same = tmp_path / "same"
        one, other = users.take(same), users.take(same)
        assert one != other
        assert set(users.taken_for(same)) == {one, other}
        users.give_back(one)
        users.give_back(one)  # twice is fine
        assert users.taken_for(same) == [other]
        assert users.take(same) == one

    def test_a_python_that_only_root_can_run_is_not_taken(self, tmp_path, monkeypatch):
        """No job could run it; and a search of the PATH must not find another version instead."""
        private = tmp_path / "private"
        private.mkdir(mode=0o700)
        (private / "real").write_bytes(Path("/bin/true").read_bytes())
        (private / "real").chmod(0o755)
        monkeypatch.setattr("sys.executable", str(private / "real"))
        monkeypatch.setattr(uv, "_SYSTEMS", str(private))
        assert uv.find_python(for_others=False) == str(private / "real")
        with pytest.raises(LaunchRefused, match="Each job is a user of its own, and none can run"):
            uv.find_python(for_others=True)
