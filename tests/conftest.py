"""What every test may ask for: a home of its own, a store, a PostgreSQL server."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

import postgresql
import pytest

from poolform.core.errors import TerraformError
from poolform.core.settings import Settings
from poolform.core.store.database import open_store
from poolform.core.terraform.locate import locate

# Files whose tests take half a minute or more together, the longest first: begun last, one keeps a core busy alone.
LONGEST = (
    "ecs/test_crashes_provisioning",
    "ecs/test_module",
    "tests/test_ray",
    "ecs/test_crashes_running",
    "ecs/test_cli",
    "cloud_run/test_crashes_running",
    "ecs/test_backends",
    "kubernetes/test_crashes",
    "container_instance/test_crashes",
    "cloud_run/test_cli",
    "cloud_run/test_crashes_provisioning",
    "container_instance/test_cli",
    "docker_pool/test_crashes",
    "docs/test_tutorial",
    "cloud_run/test_module",
    "kubernetes/test_cli",
    "docker_pool/test_cli",
    "container_instance/test_module",
    "dispatch/test_storm",
    "kubernetes/test_module",
    "tests/test_third_party",
    "managed/test_cli",
    "dispatch/test_recovery",
)


def pytest_configure(config):
    """Set up what every test counts on, whichever way the run was started."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background, children would ignore Ctrl-C too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _find_a_terraform(config)


def _find_a_terraform(config):
    """Put the embedded Terraform on PATH where there is no other, so that nothing is left untried on such a machine."""
    if shutil.which("terraform"):
        return
    folder = Path(tempfile.mkdtemp(prefix="poolform-terraform-"))
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    try:
        program = locate(Settings.from_environment({"POOLFORM_HOME": str(folder)}), {}).program
    except TerraformError:
        return  # and those who need it skip
    command = " ".join(shlex.quote(word) for word in program)
    (folder / "terraform").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    (folder / "terraform").chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def pytest_addoption(parser):
    """Let somebody ask for what tests/matrix.py leaves out."""
    parser.addoption("--everything", action="store_true", help="try every cell of every matrix, not a diagonal only")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One process more than cores: about a third of their time is waiting, for leases, polls and logs to settle."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def everything(request):
    """Whether matrices of trouble are tried whole."""
    return request.config.getoption("everything")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leave out what is exhaustive, unless asked; let what shares things run in one process, what takes longest first.

    xdist hands groups out in this order only with --no-loadscope-reorder: else those of the most tests come first.
    """
    if not config.getoption("everything"):
        left_out = [item for item in items if item.get_closest_marker("exhaustive")]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in set(left_out)]
    for item in items:
        scopes = {name: found[-1].scope for name, found in item._fixtureinfo.name2fixturedefs.items()}
        if {"module", "class"} & set(scopes.values()):
            item.add_marker(pytest.mark.xdist_group(_file(item)))
        elif scopes.get("pool") == "session":  # each process would provision one
            item.add_marker(pytest.mark.xdist_group(f"{item.path.parent.name}/pool"))
    items.sort(key=_place)


def _place(item):
    """When a test's turn is: first the files that take longest, then other groups, then what can go anywhere."""
    if _file(item) in LONGEST:
        return LONGEST.index(_file(item))
    return len(LONGEST) + (item.get_closest_marker("xdist_group") is None)


def _file(item):
    return f"{item.path.parent.name}/{item.path.stem}"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A throw-away POOLFORM_HOME, so that no test touches the person's own."""
    folder = tmp_path / "home"
    for name in list(os.environ):
        if name.startswith("POOLFORM_") and name != "POOLFORM_TESTS_REQUIRE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("POOLFORM_HOME", str(folder))
    # Nobody's own mirrors or plugin cache: a test that needs some says so.
    configuration = tmp_path / "terraform.rc"
    configuration.touch()
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(configuration))
    monkeypatch.setenv("CHECKPOINT_DISABLE", "1")
    return folder


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def store_url(request, tmp_path):
    """The URL of a new, empty database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return request.getfixturevalue("postgresql_url")


@pytest.fixture
def store(store_url):
    """A new store, once on SQLite and once on PostgreSQL."""
    with open_store(store_url) as opened:
        yield opened


@pytest.fixture
def postgresql_url(_postgresql_server):
    """The URL of a new, empty database on the session's PostgreSQL server."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{_postgresql_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{_postgresql_server}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _postgresql_server(tmp_path_factory):
    """One private server for all tests of a run, xdist's processes included; its URL without a database."""
    missing = [program for program in ("initdb", "pg_ctl") if not shutil.which(program)]
    if missing:
        pytest.skip(f"PostgreSQL's server binaries are not on PATH: {', '.join(missing)}")
    pytest.importorskip("psycopg")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    note = shared / "postgresql.json"
    with (shared / "postgresql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = json.loads(note.read_text()) if note.exists() else {**postgresql.start(), "users": 0}
        note.write_text(json.dumps({**server, "users": server["users"] + 1}))
    yield server["url"]
    with (shared / "postgresql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = json.loads(note.read_text())
        server["users"] -= 1
        note.write_text(json.dumps(server))
        if server["users"] == 0:  # the last one turns off the light
            note.unlink()
            postgresql.stop(server)


@dataclass(frozen=True)
class Result:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def poolform(tmp_path):
    """A function that runs `poolform …` as a person would, in a process of its own, and returns how it ended."""

    def run(*args, stdin=None, **env):
        done = subprocess.run(
            [Path(sys.executable).with_name("poolform"), *map(str, args)],
            env={**os.environ, **{name: str(value) for name, value in env.items()}},
            stdin=subprocess.DEVNULL if stdin is None else None,
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Let a skip be a failure for what POOLFORM_TESTS_REQUIRE names: CI brings it up, so it must be there."""
    outcome = yield
    report = outcome.get_result()
    required = os.environ.get("POOLFORM_TESTS_REQUIRE", "").split()
    if report.skipped and not hasattr(report, "wasxfail") and any(item.get_closest_marker(name) for name in required):
        report.outcome = "failed"
