"""What people may write for where code is, what is stored of it, and what a job is given."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from poolform import Variables
from poolform.core.blocks import Blocks, Document
from poolform.core.errors import NotFound, PluginError, UsageError
from poolform.core.plugins import Plugins, hookimpl, load_plugins
from poolform.core.pools.catalogue import Plugin
from poolform.core.pools.records import new_record
from poolform.core.runs import code, inline, sources
from poolform.core.runs.credentials import GitCredentials
from poolform.core.runs.entrypoints import Place, read
from poolform.core.runs.launchers import Job
from poolform.core.runs.sources import GitRepository, LocalStorage, RemoteStorage
from poolform.core.runs.supply import SECRET, Suppliers, archive_of
from poolform.core.settings import Settings
from poolform.core.store.database import open_store

JOB = Job("a.1", "a", ("python",), {}, env={"POOLFORM_SOURCE": "{}"})


@pytest.fixture
def blocks(tmp_path):
    settings = Settings.from_environment({"POOLFORM_HOME": str(tmp_path / "home")})
    with open_store(settings) as store:
        yield Blocks(store, settings, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://github.com/o/r", {"type": "git", "url": "https://github.com/o/r"}),
        ("git@github.com:o/r.git", {"type": "git", "url": "git@github.com:o/r.git"}),
        ("ssh://git@host/o/r", {"type": "git", "url": "ssh://git@host/o/r"}),
        ("file:///srv/r.git", {"type": "git", "url": "file:///srv/r.git"}),
        ("file:///srv/r", {"type": "fsspec", "url": "file:///srv/r"}),
        ("git+file:///srv/r", {"type": "git", "url": "file:///srv/r"}),
        ("git+https://host/o/r", {"type": "git", "url": "https://host/o/r"}),
        ("s3://bucket/flows", {"type": "fsspec", "url": "s3://bucket/flows"}),
        ("gs://bucket/flows.tar.gz", {"type": "fsspec", "url": "gs://bucket/flows.tar.gz"}),
        ("az://container/flows", {"type": "fsspec", "url": "az://container/flows"}),
        ("lab://thing", {"type": "lab", "url": "lab://thing"}),
    ],
)
def test_a_url_says_what_kind_of_source_it_is(text, expected):
    assert sources.of(text, custom=("lab",)).to_json() == expected


def test_a_repository_that_is_taken_as_a_folder_is_said_to_be_one(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path / "a repo"], check=True)
    for text in (str(tmp_path / "a repo"), (tmp_path / "a repo").as_uri()):
        with pytest.raises(UsageError, match="is taken as a folder, so a branch means nothing there") as caught:
            sources.of(text, branch="main")
        url = caught.value.hint.rpartition(" ")[2]
        assert sources.of(url, branch="main").to_json()["url"] == (tmp_path / "a repo").as_uri()


def test_a_folder_is_a_source(tmp_path):
    assert sources.of(tmp_path).to_json() == {"type": "local", "path": str(tmp_path)}
    given = LocalStorage(tmp_path)
    assert sources.of(given) is given


def test_everything_about_a_repository_is_stored_but_the_secret():
    made = GitRepository("https://host/o/r", "mine", branch="b", include_submodules=True, directories=["flows"])
    assert made.to_json() == {
        "type": "git",
        "url": "https://host/o/r",
        "branch": "b",
        "submodules": True,
        "directories": ["flows"],
        "credentials": "git-credentials/mine",
    }
    assert RemoteStorage("s3://b/f", "aws-credentials/x", {"anon": False, "endpoint_url": "http://e"}).to_json() == {
        "type": "fsspec",
        "url": "s3://b/f",
        "options": {"anon": False, "endpoint_url": "http://e"},
        "credentials": "aws-credentials/x",
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GitRepository("https://user:s3cret@host/o/r"), "has a token or password in it"),
        (lambda: GitRepository("https://s3cret@host/o/r"), "has a token or password in it"),
        (lambda: GitRepository("host/o/r"), "is not the URL of a git repository"),
        (lambda: GitRepository("/x/repo"), "is not the URL of a git repository"),
        (lambda: GitRepository("https://host"), "is not the URL of a git repository"),
        (lambda: GitRepository("ext::sh -c x"), "is not the URL of a git repository"),
        (lambda: GitRepository("--upload-pack=x"), "is not the URL of a git repository"),
        (lambda: GitRepository("http://host/o/r", credentials="mine"), "a token can only go over https"),
        (lambda: GitRepository("git@host:o/r.git", credentials="mine"), "a token can only go over https"),
        (lambda: GitRepository("https://host/o/r", credentials={"access_token": "s3cret"}), "the name of a block"),
        (lambda: GitRepository("https://host/o/r", GitCredentials(token=SecretStr("s3cret"))), "the name of a block"),
        (lambda: GitRepository("https://host/o/r", branch="a", commit_sha="abcdef0"), "a branch or a commit, not both"),
        (lambda: GitRepository("https://host/o/r", commit_sha="main"), "'main' is not a commit"),
        (lambda: GitRepository("https://host/o/r", branch="--x"), "cannot be a branch"),
        (lambda: GitRepository("https://host/o/r", branch="a b"), "cannot be a branch"),
        (lambda: RemoteStorage("s3://"), "names no bucket"),
        (lambda: RemoteStorage("bucket"), "names no bucket"),
        (lambda: RemoteStorage("s3://b", options={"secret": "s3cret"}), "hold a secret: secret."),
        (lambda: RemoteStorage("az://b", options={"client_secret": "s3cret"}), "hold a secret: client_secret."),
        (lambda: RemoteStorage("sftp://b/c", options={"password": "s3cret"}), "hold a secret: password."),
        (lambda: RemoteStorage("s3://u:s3cret@[b/c"), "s3://…: that is not a URL: its host makes no sense."),
        (lambda: GitRepository("https://u:s3cret@[b/c"), "https://…: that is not a URL: its host makes no sense."),
        (lambda: sources.of("s3://b/f", branch="main"), "s3://b/f is no git repository, so a branch means nothing"),
        (lambda: sources.of("/no/such", credentials="x"), "is no git repository, so credentials mean nothing"),
    ],
)
def test_what_makes_no_sense_or_gives_a_secret_away_is_refused(make, message):
    with pytest.raises(UsageError) as caught:
        make()
    assert message in caught.value.message
    assert "s3cret" not in caught.value.message
    assert caught.value.hint is None or "s3cret" not in caught.value.hint


@pytest.mark.parametrize(
    ("url", "ref", "expected"),
    [
        ("https://github.com/o/r.git", {}, {"archive": "https://api.github.com/repos/o/r/tarball", "bearer": True}),
        (
            "https://github.com/o/r",
            {"branch": "feature/x"},
            {"archive": "https://api.github.com/repos/o/r/tarball/feature/x", "bearer": True},
        ),
        (
            "https://gitlab.com/group/sub/r",
            {"branch": "a/b"},
            {
                "archive": "https://gitlab.com/api/v4/projects/group%2Fsub%2Fr/repository/archive.tar.gz?sha=a%2Fb",
                "bearer": True,
            },
        ),
        (
            "https://bitbucket.org/o/r",
            {"commit": "abcdef0"},
            {"archive": "https://bitbucket.org/o/r/get/abcdef0.tar.gz"},
        ),
        ("https://git.example.org/o/r", {}, {}),
        ("git@github.com:o/r.git", {}, {}),
    ],
)
def test_big_hosts_offer_archives_for_images_without_git(url, ref, expected):
    assert archive_of({"type": "git", "url": url, **ref}) == expected


def test_credentials_travel_as_the_jobs_secret_and_nowhere_else(blocks):
    blocks.save(Document("git-credentials", "mine", {"token": "s3cret", "username": None}))
    supply = Suppliers(Plugins(), blocks).supply(GitRepository("https://gitlab.com/o/r", "mine").to_json())
    job = supply.given_to(JOB)
    assert json.loads(job.secrets[SECRET]) == {"username": "oauth2", "password": "s3cret"}
    assert "s3cret" not in job.env["POOLFORM_SOURCE"]
    assert "credentials" not in json.loads(job.env["POOLFORM_SOURCE"])
    assert "s3cret" not in repr(job) + repr(supply)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Document("storage-credentials", "x", {"key": "k", "secret": "s", "token": None}), {"key": "k", "secret": "s"}),
        (
            Document("aws-credentials", "x", {"aws_access_key_id": "k", "aws_secret_access_key": "s"}),
            {"key": "k", "secret": "s"},
        ),
        (Document("storage-credentials", "x", {"token": '{"type": "x"}'}), {"token": {"type": "x"}}),
    ],
)
def test_buckets_take_several_kinds_of_credentials(blocks, block, expected):
    blocks.save(block)
    source = RemoteStorage("s3://b/f", f"{block.type}/x").to_json()
    assert Suppliers(Plugins(), blocks).supply(source).secret == expected


def test_a_block_that_is_gone_or_of_another_kind_is_named(blocks):
    suppliers = Suppliers(Plugins(), blocks)
    with pytest.raises(NotFound, match="git-credentials/mine"):
        suppliers.supply(GitRepository("https://host/o/r", "mine").to_json())
    blocks.save(Document("aws-credentials", "x", {"aws_access_key_id": "k"}))
    with pytest.raises(UsageError, match="aws-credentials/x has no credentials for git"):
        suppliers.supply(GitRepository("https://host/o/r", "aws-credentials/x").to_json())


def plugin(way, scheme="lab"):
    module = types.ModuleType("lab")
    module.poolform_sources = hookimpl(lambda: {scheme: way})
    module.poolform_sources.__name__ = "poolform_sources"
    plugins = Plugins()
    plugins.register(module, Plugin("lab", "poolform-lab", "1"))
    return plugins


def test_a_plugin_can_name_code_in_its_own_way(blocks):
    def way(source):
        return {"type": "git", "url": source["url"].replace("lab://", "https://lab.example/"), "branch": "x"}

    supply = Suppliers(plugin(way), blocks).supply({"type": "lab", "url": "lab://o/r"})
    assert supply.source == {"type": "git", "url": "https://lab.example/o/r", "branch": "x"}


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (lambda source: 1 / 0, "plugin lab .*: the source type lab failed: ZeroDivisionError"),
        (lambda source: sys.exit(2), "plugin lab .*: the source type lab failed: SystemExit: 2"),
        (lambda source: {"type": "lab"}, "plugin lab .*: the source type lab made .*, which no job can fetch"),
    ],
)
def test_a_plugins_source_that_leads_nowhere_is_its_plugins_fault(blocks, way, message):
    with pytest.raises(PluginError, match=message):
        Suppliers(plugin(way), blocks).supply({"type": "lab", "url": "lab://o/r"})
    with pytest.raises(NotFound, match="'other'; there are fsspec, git, inline, lab, local"):
        Suppliers(plugin(way), blocks).supply({"type": "other"})


def test_a_plugin_cannot_take_our_schemes_or_anothers():
    taken = plugin(dict, scheme="s3")
    assert taken.sources == {}
    assert "already brought by Poolform itself" in taken.problems[0].message


def test_files_over_the_limit_are_refused_with_both_numbers(tmp_path):
    import random

    noise = random.Random(1)
    (tmp_path / "flow.py").write_text("".join(chr(noise.randrange(32, 126)) for _ in range(20_000)))
    (tmp_path / "more.py").touch()
    with pytest.raises(UsageError, match=r"flow.py and 1 more take 2\d,\d{3} characters compressed, .* 6,000 along"):
        inline.pack(tmp_path, ["flow.py", "more.py"])


def test_reading_a_flow_says_which_of_the_folders_files_it_took(tmp_path):
    (tmp_path / "parts").mkdir()
    for name, text in {
        "flow.py": "import parts.one, json\ndef run(): pass",
        "parts/__init__.py": "",
        "parts/one.py": "",
        "parts/two.py": "",
    }.items():
        (tmp_path / name).write_text(text)
    assert read(Place("flow.py:run", tmp_path)).files == ["flow.py", "parts/__init__.py", "parts/one.py"]


def test_naming_sources_imports_nothing_heavy():
    code = "import sys, poolform.core.runs.sources; print({'pydantic', 'fsspec', 'git', 'boto3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path("/"))
    assert done.stdout.strip() == "set()"


@pytest.fixture
def pools():
    """A pool on this machine, and one whose jobs run in images."""
    here = new_record("here", load_plugins(Settings.from_environment({})).pool_type("process"), Variables())
    template = {"job_configuration": {}, "variables": {"properties": {"image": {"type": "string"}}}}
    return here, replace(here, name="cloud", base_job_template=template)


def test_how_code_of_this_machine_comes_to_a_job(pools, tmp_path):
    here, cloud = pools
    (tmp_path / "flow.py").write_text("def run(): pass")
    place = Place("flow.py:run", tmp_path)
    flow = read(place)
    assert code.source_for(here, place, flow) == {"type": "local", "path": str(tmp_path)}
    assert code.source_for(cloud, place, flow)["type"] == "inline"
    assert code.source_for(cloud, place, flow, image="mine:1") == {}
    assert code.source_for(cloud, place, flow, way="image") == {}
    assert code.source_for(here, place, flow, way="inline")["type"] == "inline"
    installed = replace(flow, files=())
    assert code.source_for(cloud, place, installed) == {}, "a package of the image"
    with pytest.raises(UsageError, match="Jobs of the work pool cloud run in images, and see no folder"):
        code.source_for(cloud, place, flow, way="local")
