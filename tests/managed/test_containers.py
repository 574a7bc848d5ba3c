"""Managed jobs as containers, on a real engine: packages, limits, and nothing of this machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from poolform.core.runs.launchers import Job, LaunchRefused
from poolform.provisioners.docker.engine import Engine, found_host
from poolform.provisioners.managed.containers import ManagedContainers

pytestmark = [pytest.mark.docker]


@pytest.fixture
def launcher(folder, index, base_image):
    launcher = ManagedContainers(folder, Engine(found_host()), f"apart{os.getpid()}", keep=3600.0, grace=1.0)
    yield launcher
    launcher.remove_all()
    launcher.close()


@pytest.fixture
def run(launcher, base_image):
    def run(code="pass", *, command=None, env=(), **configuration):
        words = tuple(command or ("python", "-c", code))
        job = Job(f"{time.time_ns()}.1", "trial", words, {"image": base_image, **configuration}, dict(env))
        handle = launcher.launch(job)
        while (status := launcher.poll([handle])[handle]).state != "exited":
            time.sleep(0.05)
        return status, "\n".join(line.text for line in launcher.logs(handle, None).lines)

    return run


@pytest.mark.slow
def test_packages_are_made_in_the_image_once(launcher, run, folder):
    for _ in range(2):
        status, said = run("import acorn; print(acorn.VERSION)", pip_packages=["acorn"])
        assert (status.exit_code, said) == (0, "2.0")
    assert len(list(folder.glob("environments/env-*/"))) == 1
    status, said = run("import sys; open(sys.prefix + '/new', 'w')", pip_packages=["acorn"])
    assert "Read-only file system" in said


def test_a_package_that_cannot_be_had_is_refused(run, folder):
    with pytest.raises(LaunchRefused, match=r"An environment with no-such-package cannot be made: .*no-such-package"):
        run(pip_packages=["no-such-package"])


def test_an_environment_is_not_kept_for_a_job_that_was_never_launched(launcher, folder):
    uses = folder / "environments" / "uses"
    uses.mkdir(parents=True)
    (uses / "dead.1").write_text("env-1")  # all that a worker had done when it was killed
    assert launcher.find("dead.1") is None
    assert list(uses.iterdir()) == []


FLOW = """
from poolform import flow
@flow
def looks():
    import os
    print(os.path.exists({path!r}), os.listdir("/poolform"))
"""


def test_the_runtime_is_there_and_poolform_s_home_is_not(launcher, run, home):
    home.mkdir()
    (home / "poolform.db").write_text("secret")
    write = f"import pathlib; pathlib.Path('/flow.py').write_text({FLOW.format(path=str(home / 'poolform.db'))!r})"
    status, said = run(f"{write}; {launcher.runtime_command()[2]}", env={"POOLFORM_ENTRYPOINT": "flow.py:looks"})
    assert status.exit_code == 0, said
    assert "False ['runtime']" in said


def test_it_is_limited(run):
    status, _ = run("x = bytearray(200_000_000)", memory=64)
    assert status.exit_code == 137
    assert status.reason == "ran out of memory: it had 64 MiB; give it more with the job variable memory"
    status, said = run("print(open('/proc/self/status').read())")
    assert "CapEff:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said


def test_nothing_of_the_dispatcher_s_environment_is_there(run, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-4711")
    _, said = run("import os; print(dict(os.environ))")
    assert "hush-4711" not in said


def test_deprovisioning_leaves_nothing(launcher, folder, base_image):
    launcher.launch(Job("left.1", "trial", ("python", "-c", "import time; time.sleep(60)"), {"image": base_image}))
    launcher.remove_all()
    assert launcher.find("left.1") is None
    assert not Path(folder).exists()
    assert os.environ  # the worker lives
