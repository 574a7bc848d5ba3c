"""Fetching code inside a job: from a real git server, by fsspec, from the payload; with Poolform there and without."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from clouds.git import TOKEN, serve
from clouds.git import git as run_git

from poolform.core.runs import inline
from poolform.core.runs.bootstrap import bootstrap_command
from poolform.runtime import fetch_fsspec

FLOW = """
import os, subprocess, sys
from pathlib import Path
from beside import WORD
def run():
    print("ran", WORD, Path(__file__).parent == Path.cwd())
    print("secret:", os.environ.get("POOLFORM_SOURCE_SECRET"))
    print("data:", *(path.read_text() for path in sorted(Path().rglob("*.txt"))))
"""
FILES = {"work.py": FLOW, "beside.py": "WORD = 'one'\n"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    yield from serve(tmp_path_factory.mktemp("git") / "repositories")


@pytest.fixture(scope="module")
def public(server):
    return server.make("public", FILES)


@pytest.fixture(scope="module")
def private(server):
    return server.make("private/flows", FILES)


@pytest.fixture(params=["installed", "bootstrap"])
def job(request, tmp_path):
    """A function that runs `work.py:run` from a source as a job, and returns (exit code, output)."""

    def run(source, secret=None, entrypoint="work.py:run", **env):
        command = (sys.executable, "-m", "poolform.runtime")
        if request.param == "bootstrap":
            # -S: no site-packages, so neither Poolform nor fsspec
            command = (sys.executable, "-S", *bootstrap_command(source["type"])[1:])
        environ = {**os.environ, "POOLFORM_ENTRYPOINT": entrypoint, "POOLFORM_SOURCE": json.dumps(source)}
        environ["POOLFORM_SCRATCH"] = str(tmp_path)
        environ |= {"POOLFORM_SOURCE_SECRET": json.dumps(secret)} if secret else {}
        done = subprocess.run(
            command, env={**environ, **env}, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert not list(tmp_path.glob("poolform-code-*")), "fetched code was left behind"
        return done.returncode, done.stdout + done.stderr

    run.kind = request.param
    return run


def git(url, **more):
    return {"type": "git", "url": url, **more}


def test_a_repositorys_default_branch(job, public):
    code, output = job(git(public.url))
    assert code == 0, output
    assert "ran one True" in output


def test_a_file_that_the_repository_lacks_is_missed_in_the_repository(job, public):
    code, output = job(git(public.url), entrypoint="wrok.py:run")
    assert code == 70
    assert f"wrok.py is not in {public.url}. Did you mean work.py?" in output


@pytest.mark.slow
def test_branch_tag_and_commit(job, server):
    repository = server.make(f"{job.kind}-refs", FILES)
    first = repository.commit({"beside.py": "WORD = 'first'\n"})
    repository.commit({"beside.py": "WORD = 'second'\n"}, branch="feature/x")
    run_git(repository.work, "push", "--quiet", "origin", f"{first}:refs/tags/v1")
    repository.commit({"beside.py": "WORD = 'third'\n"}, branch="main")
    for asked, word in (
        ({"branch": "feature/x"}, "second"),
        ({"branch": "v1"}, "first"),
        ({"commit": first}, "first"),
        ({"commit": first[:9]}, "first"),
    ):
        code, output = job(git(repository.url, **asked))
        assert (code, f"ran {word} True" in output) == (0, True), output


@pytest.mark.slow
def test_submodules_come_along_when_asked_for(job, server, public):
    repository = server.make(f"{job.kind}-with-parts", {"work.py": FLOW.replace("beside", "part.beside")})
    run_git(repository.work, "submodule", "--quiet", "add", "../public.git", "part")
    repository.push()
    code, output = job(git(repository.url, submodules=True))
    assert (code, "ran one True" in output) == (0, True), output
    code, output = job(git(repository.url))
    assert code == 71, output


def test_only_some_directories_of_a_large_repository(job, server):
    files = {"flows/work.py": FLOW, "flows/beside.py": "WORD = 'one'\n", "large/data.txt": "no", "top.txt": "yes"}
    repository = server.make(f"{job.kind}-large", files)
    code, output = job(git(repository.url, directories=["flows"]), entrypoint="flows/work.py:run")
    assert (code, "data: yes\n" in output) == (0, True), output


def test_a_private_repository_with_its_token(job, private):
    code, output = job(git(private.url), {"username": "any", "password": TOKEN}, GIT_TRACE="1", GIT_CURL_VERBOSE="1")
    assert code == 0, output
    assert "secret: None" in output
    assert TOKEN not in output


def test_a_token_is_not_kept_in_the_checkout(private, tmp_path):
    from poolform.runtime.fetch_git import fetch

    fetch(git(private.url), {"username": "any", "password": TOKEN}, str(tmp_path))
    assert (tmp_path / "work.py").exists()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert kept == []


def test_a_token_is_never_on_a_command_line(private, tmp_path, job):
    """A git of ours in front of the real one writes down what it is called with."""
    seen = tmp_path / "seen"
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "bin").mkdir()
    spy = tmp_path / "bin" / "git"
    spy.write_text(f'#!/bin/sh\necho "$@" >> {seen}\nexec {real} "$@"\n')
    spy.chmod(0o755)
    path = f"{spy.parent}:{os.environ['PATH']}"
    code, output = job(git(private.url), {"username": "any", "password": TOKEN}, PATH=path)
    assert code == 0, output
    assert "fetch" in seen.read_text()
    assert TOKEN not in seen.read_text()


def test_a_token_is_for_its_host_only(job, server, tmp_path):
    """A submodule elsewhere asks for a password, too, and is told nothing."""
    from clouds.git import GitServer

    (tmp_path / "elsewhere" / "repositories").mkdir(parents=True)
    with GitServer(tmp_path / "elsewhere" / "repositories") as elsewhere:
        other = elsewhere.make("private/other", FILES)
        bare = elsewhere.root / "private" / "other.git"
        repository = server.make(f"private/{job.kind}-pulls", FILES)
        run_git(repository.work, "submodule", "--quiet", "add", str(bare), "part")
        modules = repository.work / ".gitmodules"
        modules.write_text(modules.read_text().replace(str(bare), other.url))
        run_git(repository.work, "add", ".gitmodules")
        repository.push()
        code, output = job(git(repository.url, submodules=True), {"username": "any", "password": TOKEN})
    assert code == 70, output
    assert elsewhere.requests, "the submodule was never asked for"
    assert "refused the token" in output


@pytest.mark.parametrize(
    ("source", "secret", "reason"),
    [
        (git("{private}"), None, "{private} is private, or not there: it asks who wants it, and the deployment has no"),
        (git("{private}"), {"username": "x", "password": "wrong-token"}, "{private} refused the token"),
        (git("{public}x"), None, "there is no git repository {public}x"),
        (git("{public}", branch="mian"), None, "{public} has no branch or tag 'mian'."),
        (git("{public}", commit="a" * 40), None, "{public} has no commit aaaaaaa"),
        (git("{public}", commit="abcdef012"), None, "{public} has no commit abcdef012."),
        ({"type": "ftp"}, None, "this runtime cannot fetch code of type 'ftp'."),
        ({"type": "inline", "files": "x"}, None, "the code that came with the job is damaged."),
    ],
)
def test_what_cannot_be_fetched_gets_a_sentence(job, public, private, source, secret, reason):
    urls = {"public": public.url, "private": private.url}
    source = {key: value.format(**urls) for key, value in source.items()}
    code, output = job(source, secret)
    assert code == 70, output
    assert reason.format(**urls) in output
    assert "wrong-token" not in output
    assert "Traceback" not in output


def test_a_missing_entrypoint_is_named_after_fetching(job, public):
    code, output = job(git(public.url), entrypoint="wrk.py:run")
    assert code == 70, output
    assert "Did you mean work.py?" in output


def test_a_server_that_is_down_for_a_moment_is_asked_again(job, public, server):
    server.down = 1
    code, output = job(git(public.url))
    assert code == 0, output


@pytest.mark.parametrize(("stopped_by", "code"), [("timeout", 73), ("SIGTERM", 74)])
def test_a_job_can_be_stopped_while_it_waits_for_its_code(tmp_path, stopped_by, code):
    """A server that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/r.git"
        environ = {**os.environ, "POOLFORM_ENTRYPOINT": "work.py:run", "POOLFORM_SOURCE": json.dumps(git(url))}
        environ["POOLFORM_SCRATCH"] = str(tmp_path)
        environ |= {"POOLFORM_TIMEOUT_SECONDS": "1"} if stopped_by == "timeout" else {}
        command = (sys.executable, "-m", "poolform.runtime")
        process = subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        with process, silent.accept()[0]:  # it is asking
            if stopped_by == "SIGTERM":
                process.terminate()
            output = process.communicate(timeout=20)[0]
    assert process.returncode == code, output
    assert not list(tmp_path.glob("poolform-code-*")), "fetched code was left behind"


@pytest.fixture
def without_git(tmp_path):
    """A PATH on which there is no git."""
    (tmp_path / "empty").mkdir()
    return str(tmp_path / "empty")


def test_without_git_the_hosts_archive_will_do(job, server, public, private, without_git):
    source = git(public.url, branch="main", archive=f"{server.url}/archive/public/main.tar.gz")
    code, output = job(source, PATH=without_git)
    assert (code, "ran one True" in output) == (0, True), output
    source = git(private.url, archive=f"{server.url}/archive/private/flows/HEAD.tar.gz")
    for bearer in (True, False):
        code, output = job({**source, "bearer": bearer}, {"username": "x", "password": TOKEN}, PATH=without_git)
        assert (code, "ran one True" in output) == (0, True), output
    code, output = job(source, PATH=without_git)
    assert (code, f"{private.url} is private, or not there" in output) == (70, True), output
    source = git(public.url, branch="mian", archive=f"{server.url}/archive/public/mian.tar.gz")
    code, output = job(source, PATH=without_git)
    assert (code, "or no 'mian' in it" in output) == (70, True), output


def test_without_git_and_archive_it_says_what_to_install(job, public, without_git):
    code, output = job(git(public.url), PATH=without_git)
    assert (code, "there is no git here to fetch it with: install git in the image." in output) == (70, True), output


def test_a_few_files_travel_in_the_payload(job, tmp_path):
    folder = tmp_path / "code"
    (folder / "data").mkdir(parents=True)
    for name, text in {**FILES, "data/a.txt": "Grüße, $HOME $(x) $$\r\n"}.items():
        with (folder / name).open("w", newline="") as file:
            file.write(text)
    source = inline.pack(folder, ["work.py", "beside.py", "data/a.txt"])
    assert "$" not in source["files"]
    code, output = job(source)
    assert (code, "ran one True" in output, "data: Grüße, $HOME $(x) $$" in output) == (0, True, True), output


def test_a_folder_an_archive_or_a_file_through_fsspec(job, tmp_path):
    folder = tmp_path / "bucket" / "flows"
    (folder / "sub").mkdir(parents=True)
    for name, text in {**FILES, "sub/a.txt": "hello"}.items():
        (folder / name).write_text(text)
    url = folder.as_uri()
    if job.kind == "bootstrap":
        code, output = job({"type": "fsspec", "url": url})
        assert (code, f"the code is at {url}, and there is no fsspec here" in output) == (70, True), output
        return
    subprocess.run(["tar", "-czf", "../flows.tar.gz", "."], cwd=folder, check=True)
    for source in (url, f"{url}/", f"{url}.tar.gz"):
        code, output = job({"type": "fsspec", "url": source})
        assert (code, "data: hello" in output) == (0, True), output
    (tmp_path / "bucket" / "alone.py").write_text("def run(): print('alone')")
    code, output = job({"type": "fsspec", "url": f"{folder.parent.as_uri()}/alone.py"}, entrypoint="alone.py:run")
    assert (code, "alone" in output) == (0, True), output
    code, output = job({"type": "fsspec", "url": f"{url}-not"})
    assert (code, f"there is no {url}-not" in output) == (70, True), output


@pytest.mark.parametrize("kind", ["git", "inline", "fsspec"])
def test_fetching_is_no_part_of_what_other_jobs_carry(kind):
    assert len(bootstrap_command()[2]) < len(bootstrap_command(kind)[2])
    assert bootstrap_command() == bootstrap_command("local")


def test_the_module_files_hold_no_other_names_of_ours():
    """Each way to fetch is on its own: the bootstrap carries one of them, with nothing else of the runtime in reach."""
    for path in Path(sys.modules["poolform"].__file__).parent.glob("runtime/fetch_*.py"):
        assert "poolform.runtime" not in path.read_text(encoding="utf-8")


def test_what_a_file_system_says_is_told_without_secrets():
    key = "-----BEGIN KEY-----\nMIIEv\nAIBAD\n-----END KEY-----\n"
    secret = {"token": {"type": "service_account", "private_key": key}, "secret": "hunter2", "key": ""}
    error = OSError(f"service_account with {key} and\nhunter2 is refused")
    assert fetch_fsspec.said(error, secret) == "service_account with *** and *** is refused."
