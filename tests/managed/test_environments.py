"""Environments are made once for each resolved set, whatever dies, and go when nobody uses them."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest
from managed.wheels import wheel

from poolform.core.runs.launchers import LaunchRefused, NoCapacity
from poolform.provisioners.managed.environments import Environments
from poolform.provisioners.managed.uv import HostBuilder, find_uv

pytestmark = pytest.mark.skipif(find_uv() is None, reason="there is no uv")


class Counting(HostBuilder):
    """Remembers what it made."""

    def __init__(self):
        super().__init__()
        self.built = []

    def build(self, folder, pins):
        self.built.append(list(pins))
        super().build(folder, pins)


class Pip(HostBuilder):
    """As where there is no uv."""

    _uv = None


@pytest.fixture
def builder(index):
    return Counting()


@pytest.fixture
def environments(folder, builder):
    return Environments(folder / "environments", builder, keep=3600.0)


def version(environment, module="acorn"):
    code = f"import {module}; print({module}.VERSION)"
    done = subprocess.run([environment / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_equal_sets_share_an_environment_however_they_were_asked_for(environments, builder):
    made = {environments.provide(asked) for asked in (["acorn"], ["acorn==2.0"], ["bark", "acorn>=1.5"])}
    assert len(made) == 1
    assert version(made.pop()) == "2.0"
    assert builder.built == [["acorn==2.0", "bark==1.0"]]


def test_another_set_is_another_environment(environments):
    old, new = environments.provide(["acorn==1.0"]), environments.provide(["acorn"])
    assert (version(old), version(new)) == ("1.0", "2.0")


def test_no_packages_are_an_environment_of_nothing(environments):
    bare = environments.provide([])
    code = "import pytest"
    assert subprocess.run([bare / "bin" / "python", "-c", code], capture_output=True, check=False).returncode == 1


def test_a_warm_environment_is_found_without_asking_anybody(environments, builder):
    environments.provide(["acorn"])
    began = time.perf_counter()
    environments.provide(["acorn"])
    assert time.perf_counter() - began < 0.05
    assert len(builder.built) == 1


@pytest.mark.parametrize("several", ["one", "many"])
def test_it_is_built_once_however_many_ask(folder, builder, environments, several):
    """Threads of one worker, or workers."""
    makers = [environments if several == "one" else Environments(folder / "environments", builder, keep=1.0)]
    makers += [makers[0] if several == "one" else Environments(folder / "environments", builder, keep=1.0)] * 5
    found = []
    threads = [threading.Thread(target=lambda m=m: found.append(m.make("key", ["acorn"]))) for m in makers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 6
    assert len(builder.built) == 1


def test_what_cannot_be_had_is_refused_by_name_and_leaves_nothing(environments, folder):
    with pytest.raises(LaunchRefused, match=r"An environment with nowhere cannot be made: .*nowhere"):
        environments.provide(["nowhere"])
    assert list(folder.glob("environments/env-*/")) == []


@pytest.mark.parametrize("wrong", ["--index-url=http://elsewhere.test", "acorn\n--pre", "-r file.txt"])
def test_an_option_is_no_package(environments, wrong):
    with pytest.raises(LaunchRefused, match="names no package"):
        environments.provide([wrong])


def test_a_long_build_keeps_nobody_waiting(folder, builder):
    hasty = Environments(folder / "environments", builder, keep=1.0, patience=0.0)
    with pytest.raises(NoCapacity, match="an environment with acorn is still being made"):
        hasty.provide(["acorn"])
    hasty._patience = 30.0
    assert version(hasty.provide(["acorn"])) == "2.0"


def test_one_that_was_cut_off_is_made_anew(environments, builder):
    made = environments.provide(["acorn"])
    (made / ".poolform-ready").unlink()
    for path in made.rglob("acorn.py"):
        path.unlink()
    assert version(environments.provide(["acorn"])) == "2.0"
    assert len(builder.built) == 2


def test_a_request_is_resolved_again_after_a_day_and_keeps_its_meaning_without_an_index(folder, builder, index):
    daily = Environments(folder / "environments", builder, keep=3600.0, fresh=0.0)
    assert version(daily.provide(["acorn"])) == "2.0"
    wheel(index, "acorn", "3.0", requires=["bark"])
    assert version(daily.provide(["acorn"])) == "3.0"
    for path in index.iterdir():
        path.unlink()
    assert version(daily.provide(["acorn"])) == "3.0"


def test_an_index_s_password_is_in_no_error(environments, monkeypatch):
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.setenv("UV_INDEX_URL", "http://somebody:hush-4711@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(LaunchRefused) as refused:
        environments.provide(["acorn==9"])
    assert "hush-4711" not in str(refused.value)


@pytest.mark.slow
def test_what_nobody_uses_goes_and_what_a_job_uses_stays(environments, folder):
    used, unused, fresh = (environments.provide([f"acorn=={v}"]) for v in ("1.0", "2.0")), None, None
    used, unused = used
    fresh = environments.provide(["bark"])
    environments.use(used, "job.1")
    long_ago = time.time() - 7200
    for path in (used, unused):
        os.utime(path / ".poolform-ready", (long_ago, long_ago))
    environments.prune()
    assert (used.exists(), unused.exists(), fresh.exists()) == (True, False, True)
    environments.leave("job.1")
    environments.prune()
    assert not used.exists()
    assert version(environments.provide(["acorn==2.0"])) == "2.0", "it is made again when it is asked for again"


def test_bytecode_is_there_for_those_who_may_not_write_it(environments):
    assert list(environments.provide(["acorn"]).rglob("acorn.*.pyc"))


@pytest.mark.slow
def test_without_uv_there_is_pip(folder, index):
    slow = Environments(folder / "environments", Pip(), keep=1.0, patience=60.0)
    assert version(slow.provide(["acorn"])) == "2.0"
    with pytest.raises(LaunchRefused, match="nowhere"):
        slow.provide(["nowhere"])
