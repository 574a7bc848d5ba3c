"""`poolform deploy --source`, from a person's command line to a run's log."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest
from clouds.git import TOKEN, serve

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")

FLOW = """
from poolform import flow
from beside import WORD
@flow(retries=0)
def greet(name: str = "you"):
    "Say hello."
    print("Hello,", name, "from", WORD)
"""
FILES = {"flows/greet.py": FLOW, "flows/beside.py": "WORD = 'main'\n"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    yield from serve(tmp_path_factory.mktemp("git") / "repositories")


@pytest.fixture(scope="module")
def public(server):
    return server.make("public", FILES)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    home = tmp_path_factory.mktemp("shared")
    (home / "empty.rc").touch()
    return home


@pytest.fixture
def cli(shared, poolform):
    def run(*arguments, **more):
        return poolform(*arguments, POOLFORM_HOME=shared / "home", TF_CLI_CONFIG_FILE=shared / "empty.rc", **more)

    if not (shared / "home").exists():
        made = run("work-pool", "create", "here", "--type", "process", "--provision-infra", "--yes")
        assert made.code == 0, made.err
    return run


def deploy(cli, entrypoint, *options):
    return cli("deploy", entrypoint, "--name", "x", "--pool", "here", *options)


@pytest.mark.slow
def test_a_repository_is_fetched_for_every_run(cli, server):
    repository = server.make("changing", FILES)
    done = deploy(cli, "flows/greet.py:greet", "--source", repository.url)
    assert done.code == 0, done.err
    assert "Hello, you from main" in cli("deployment", "run", "greet/x", "--watch").out
    repository.commit({"flows/beside.py": "WORD = 'a newer main'\n"})
    assert "Hello, me from a newer main" in cli("deployment", "run", "greet/x", "--watch", "--param", "name=me").out


@pytest.mark.slow
def test_a_private_repository_by_a_block(cli, server, shared):
    repository = server.make("private/flows", FILES)
    where = ("flows/greet.py:greet", "--source", repository.url)
    done = deploy(cli, *where)
    assert (done.code, "is private, or not there" in done.err) == (2, True), done.err
    assert "poolform block create git-credentials/NAME" in done.err
    made = cli("block", "create", "git-credentials/mine", "--file", "-", stdin=json.dumps({"token": TOKEN}))
    assert made.code == 0, made.err
    done = deploy(cli, *where, "--credentials", "mine")
    assert done.code == 0, done.err
    ran = cli("deployment", "run", "greet/x", "--watch")
    assert (ran.code, "Hello, you from main" in ran.out) == (0, True), ran.err
    cli("block", "create", "git-credentials/mine", "--file", "-", stdin='{"token": "expired"}')
    done = deploy(cli, *where, "--credentials", "mine")
    assert (done.code, "refused the token" in done.err) == (2, True), done.err
    ran = cli("deployment", "run", "greet/x", "--watch")
    assert (ran.code, "refused the token" in ran.err + ran.out) == (5, True), ran.err
    inspected = cli("deployment", "inspect", "greet/x", "-o", "json").out
    assert "git-credentials/mine" in inspected
    (database,) = (shared / "home").glob("*.db")
    assert TOKEN not in "".join(sqlite3.connect(database).iterdump()) + inspected + ran.out + ran.err


@pytest.mark.parametrize(
    ("entrypoint", "options", "sentence", "hint"),
    [
        ("flows/greet.py:greet", ("--branch", "mian"), "{url} has no branch or tag 'mian'.", ""),
        ("flows/great.py:greet", (), "flows/great.py is not in {url}.", "Did you mean flows/greet.py"),
        ("flows/greet.py:great", (), "flows/greet.py has no 'great'.", "Did you mean greet?"),
        ("flows/greet.py", (), "does not say which function is the flow", "flows/greet.py:FUNCTION"),
        ("flows/greet.py:greet", ("--credentials", "none"), "no block git-credentials/none", ""),
        ("flows/greet.py:greet", ("--commit", "b" * 40), "{url} has no commit bbbb", ""),
    ],
)
def test_what_is_not_in_the_repository_is_said_at_once(cli, public, entrypoint, options, sentence, hint):
    url = public.url
    done = deploy(cli, entrypoint, "--source", url, *options)
    assert done.code == 2, done.err
    text = " ".join(done.err.split())
    assert sentence.format(url=url) in text
    assert hint in text
    assert "Traceback" not in text
    assert "/poolform-code-" not in text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--source", "https://user:s3cret@example.org/r"), "has a token or password in it"),
        (("--source", "nowhere"), "The source nowhere is not a folder on this machine."),
        (("--branch", "main"), "branch: that goes with a repository, and no source is given."),
        (("--source", "http://127.0.0.1:1/r.git"), "http://127.0.0.1:1/r.git cannot be read:"),
        (("--source", "memory://nothing"), "There is no memory://nothing."),
    ],
)
def test_a_source_that_is_none_gets_a_sentence(cli, tmp_path, options, sentence):
    (tmp_path / "greet.py").write_text("def greet(): pass")
    done = deploy(cli, "greet.py:greet", *options)
    assert done.code == 2, done.err
    assert sentence in " ".join(done.err.split())
    assert "s3cret" not in done.err


@pytest.mark.slow
def test_a_folder_of_this_machine_by_name(cli, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "alone.py").write_text("def alone(): print('found')")
    assert deploy(cli, "alone.py:alone", "--source", "code").code == 0
    assert "found" in cli("deployment", "run", "alone/x", "--watch").out


@pytest.mark.slow
def test_a_few_files_travel_with_the_run(cli, tmp_path):
    """The folder is gone when the run starts, and what the flow imports is there."""
    for name, text in {**FILES, "flows/unused.py": "raise ValueError\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    done = deploy(cli, "flows/greet.py:greet", "--source", "inline")
    assert done.code == 0, done.err
    shutil.rmtree(tmp_path / "flows")
    assert "Hello, you from main" in cli("deployment", "run", "greet/x", "--watch").out


@pytest.mark.slow
def test_from_source_in_a_script(cli, server, shared, tmp_path):
    """A private repository by its block, and a folder; what is wrong is said with what to do about it."""
    repository = server.make("private/scripted", FILES)
    assert cli("block", "create", "git-credentials/script", "--file", "-", stdin=json.dumps({"token": TOKEN})).code == 0
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "alone.py").write_text("def alone(): print('found')")
    (tmp_path / "script.py").write_text(f"""
from poolform import GitRepository, deploy, flow
repository = GitRepository({repository.url!r}, credentials="script")
remote = flow.from_source(repository, "flows/greet.py:greet")
print(remote.name, remote.deploy("scripted", "here", parameters={{"name": "script"}}, tags=["a"]))
print(deploy(flow.from_source("code", "alone.py:alone").to_deployment("scripted"), work_pool_name="here"))
try:
    flow.from_source(GitRepository({repository.url!r}), "flows/greet.py:greet")
except Exception as exc:
    print(exc, *exc.__notes__)
""")
    env = {**os.environ, "POOLFORM_HOME": str(shared / "home"), "TF_CLI_CONFIG_FILE": str(shared / "empty.rc")}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["greet greet/scripted", "['alone/scripted']"]
    assert "is private, or not there" in lines[2]
    assert "poolform block create git-credentials/NAME" in lines[2]
    assert "Hello, script from main" in cli("deployment", "run", "greet/scripted", "--watch").out
    assert "found" in cli("deployment", "run", "alone/scripted", "--watch").out


@pytest.fixture(scope="module")
def bucket():
    """A bucket `code` in moto's S3, and the environment that leads there."""
    pytest.importorskip("s3fs")
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "s3cret-key"}
    s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
    s3.create_bucket(Bucket="code")
    for name, text in FILES.items():
        s3.put_object(Bucket="code", Key=f"app/{name}", Body=text.encode())
    yield {"AWS_ENDPOINT_URL": url}
    server.stop()


@pytest.mark.slow
def test_a_folder_of_this_machine_is_put_into_s3_once(cli, bucket, monkeypatch, tmp_path):
    """And fetched from there, when the folder is long gone."""
    import fsspec

    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    for name, text in {**FILES, ".env": "s3cret"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    keys = {"key": "AKIAEXAMPLE", "secret": "s3cret-key"}
    assert cli("block", "create", "storage-credentials/up", "--file", "-", stdin=json.dumps(keys)).code == 0
    where = ("flows/greet.py:greet", "--source", "flows/..", "--upload", "s3://code/up", "--credentials", "up")
    assert [deploy(cli, *where).code for _ in range(2)] == [0, 0]
    put = fsspec.filesystem("s3", **keys).ls("code/up")
    assert len(put) == 1
    shutil.rmtree(tmp_path / "flows")
    ran = cli("deployment", "run", "greet/x", "--watch")
    assert (ran.code, "Hello, you from main" in ran.out) == (0, True), ran.err


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--upload", "s3://absent/up", "--credentials", "up"), 1, "The code cannot be put at s3://absent/up/"),
        (("--upload", "nowhere"), 2, "'nowhere' names no bucket"),
        (("--upload", "s3://code/up", "--source", "https://example.org/r"), 2, "Only a folder of this machine"),
    ],
)
def test_what_cannot_be_uploaded_gets_a_sentence(cli, bucket, monkeypatch, tmp_path, options, code, sentence):
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "greet.py").write_text("def greet(): pass")
    keys = {"key": "AKIAEXAMPLE", "secret": "s3cret-key"}
    assert cli("block", "create", "storage-credentials/up", "--file", "-", stdin=json.dumps(keys)).code == 0
    done = deploy(cli, "greet.py:greet", *options)
    assert (done.code, sentence in " ".join(done.err.split())) == (code, True), done.err
    assert "s3cret-key" not in done.err


@pytest.mark.slow
def test_a_folder_in_s3(cli, bucket, monkeypatch):
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    keys = {"key": "AKIAEXAMPLE", "secret": "s3cret-key"}
    assert cli("block", "create", "storage-credentials/s3", "--file", "-", stdin=json.dumps(keys)).code == 0
    where = ("flows/greet.py:greet", "--source", "s3://code/app", "--credentials", "s3")
    done = deploy(cli, *where)
    assert done.code == 0, done.err
    done = deploy(cli, "flows/greet.py:greet", "--source", "s3://cod/app", "--credentials", "s3")
    assert (done.code, "no s3://cod/app" in done.err) == (2, True), done.err
    done = deploy(cli, "flows/greet.py:greet", "--source", "s3://code/ap", "--credentials", "s3")
    assert (done.code, "no s3://code/ap" in done.err) == (2, True), done.err
    ran = cli("deployment", "run", "greet/x", "--watch")
    assert (ran.code, "Hello, you from main" in ran.out) == (0, True), ran.err
    assert "s3cret-key" not in ran.out + ran.err


def test_who_names_an_image_hears_that_the_code_must_be_in_it(poolform, tmp_path):
    poolform("work-pool", "create", "p", "--type", "modal:push")
    (tmp_path / "greet.py").write_text("def greet():\n    pass\n")
    deploy = ("deploy", "greet.py:greet", "--name", "n", "--pool", "p", "--job-variable", "image=lab/flows:1")
    said = poolform(*deploy).err
    assert "Its jobs look for greet.py in the working directory of the image lab/flows:1; --source inline" in said
    for meant in ("image", "inline"):
        assert "Its jobs look for" not in poolform(*deploy, "--source", meant).err
