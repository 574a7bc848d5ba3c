"""The Docker pool type keeps the contract, needs nothing that it was not asked for, and looks at the engine first."""

from __future__ import annotations

import gc
import json

import pytest
from docker_pool.provider import BEHAVIOUR, DOCKER

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import ChecksCredentials, Connection, Disconnects
from poolform.core.terraform.render import render
from poolform.provisioners.docker.engine import DEFAULT_HOST
from poolform.provisioners.docker.pool_type import Docker
from poolform.provisioners.docker.variables import DockerOutputs, DockerVariables
from poolform.testing import PoolTypeContract

HERE = {"host": DEFAULT_HOST}
NOBODY = {"host": "unix:///no/such.sock"}
# docker-py forgets to close a socket that it could not connect.
leaks = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def nobody():
    """Where no engine is; what docker-py has left open there is told of before the next test."""
    yield NOBODY
    gc.collect()


@pytest.mark.slow
class TestDocker(PoolTypeContract):
    pool_type = Docker
    examples = (
        {"host": "a-context", "own_network": True, "own_volume": True, "volume_path": "/shared"},
        HERE,
        {"host": "ssh://me@elsewhere", "engine": "AAAA:BBBB", "network": "lab", "image_namespace": "ghcr.io/team"},
    )
    schemas = (DOCKER,)
    behaviour = BEHAVIOUR


@pytest.mark.parametrize(
    ("asked", "needed"), [({}, {}), ({"own_network": True}, {"kreuzwerker/docker": ">= 3.1, < 5.0"})]
)
def test_only_who_asks_for_resources_needs_the_provider(asked, needed):
    module = render(Docker(), DockerVariables(**HERE, **asked), pool_name="p", pool_id="ab12cd34")
    assert module.providers == needed


def test_what_was_made_or_named_is_what_jobs_get():
    made = DockerOutputs(pool_id="p1", network="poolform-p1", volume="poolform-p1")
    connection = Docker().connect(DockerVariables(**HERE, own_network=True, own_volume=True), made)
    assert connection.job_defaults == {"networks": ["poolform-p1"], "volumes": ["poolform-p1:/data"]}
    connection = Docker().connect(DockerVariables(**HERE, network="lab"), DockerOutputs(pool_id="p1"))
    assert connection.job_defaults == {"networks": ["lab"]}
    assert connection.settings == {"host": DEFAULT_HOST, "engine": None, "pool_id": "p1"}


def test_the_engine_is_where_the_docker_program_would_find_it(monkeypatch, tmp_path):
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert Docker().discover() == {"host": DEFAULT_HOST}
    (tmp_path / "config.json").write_text("{not JSON")
    assert Docker().discover() == {"host": DEFAULT_HOST}
    (tmp_path / "config.json").write_text('{"currentContext": "lab"}')
    assert Docker().discover() == {"host": "lab"}
    monkeypatch.setenv("DOCKER_CONTEXT", "other")
    assert Docker().discover() == {"host": "other"}
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    assert Docker().discover() == {"host": "tcp://10.0.0.1:2375"}


def test_a_context_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(PoolformError, match="There is no Docker context nowhere here"):
        Docker().identity(DockerVariables(host="nowhere"))


@leaks
def test_without_an_engine_there_is_a_sentence(nobody):
    with pytest.raises(
        PoolformError, match=r"No Docker engine answers: reaching .*: No such file or directory"
    ) as told:
        Docker().identity(DockerVariables(**nobody))
    assert "systemctl start docker" in told.value.hint


@leaks
def test_a_credential_is_an_engine_that_answers(nobody):
    assert isinstance(Docker(), ChecksCredentials)
    connection = Connection(settings={**nobody, "engine": None, "pool_id": "p1"})
    assert Docker().authenticate(connection, None).verdict == "missing"


@leaks
def test_taking_a_pool_apart_needs_its_engine(nobody):
    assert isinstance(Docker(), Disconnects)
    connection = Connection(settings={**nobody, "engine": None, "pool_id": "p1"})
    with pytest.raises(PoolformError, match="The pool's containers cannot be removed"):
        Docker().disconnect(connection, None)


@pytest.mark.docker
class TestWithTheEngine:
    def test_its_id_is_the_account(self, client):
        who = Docker().identity(DockerVariables(**HERE))
        assert who.account == client.info()["ID"]
        assert Docker().identity(DockerVariables(**HERE, engine=who.account)) == who

    def test_another_engine_than_the_pool_s_is_refused(self, client):
        with pytest.raises(PoolformError, match=r"The engine at .* is .*, and the pool is for AAAA:BBBB"):
            Docker().identity(DockerVariables(**HERE, engine="AAAA:BBBB"))
        settings = {**HERE, "engine": "AAAA:BBBB", "pool_id": "p1"}
        finding = Docker().authenticate(Connection(settings=settings), None)
        assert "the pool's is AAAA:BBBB" in finding.message

    def test_nothing_is_missing_where_nothing_is_asked_for(self, client):
        assert list(Docker().preflight(DockerVariables(**HERE), ["terraform_data"])) == []
        assert list(Docker().preflight(DockerVariables(**HERE, network="bridge"), ["terraform_data"])) == []
        connection = Connection(settings={**HERE, "engine": None, "pool_id": "p1"})
        assert Docker().authenticate(connection, None).verdict == "allowed"

    def test_a_network_that_is_not_there_is_missing(self, client):
        (finding,) = Docker().preflight(DockerVariables(**HERE, network="bridg"), ["terraform_data"])
        assert (finding.verdict, finding.subject) == ("missing", "the network bridg")
        assert "docker network create bridg" in finding.hint

    def test_a_context_leads_to_it(self, client, monkeypatch, tmp_path):
        from docker.context import ContextAPI

        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        (tmp_path / "config.json").write_text(json.dumps({}))
        ContextAPI.create_context("lab", host=DEFAULT_HOST)
        assert Docker().identity(DockerVariables(host="lab")).account == client.info()["ID"]
