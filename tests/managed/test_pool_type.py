"""The managed pool type keeps the contract, and says what jobs are kept from and what they are not."""

from __future__ import annotations

import os

import pytest
from managed.conftest import root

from poolform.core.pools.contract import ChecksCredentials, Connection, Disconnects
from poolform.core.runs.jobs import base_job_template, check_template
from poolform.provisioners.managed.containers import ManagedContainers
from poolform.provisioners.managed.pool_type import Managed
from poolform.provisioners.managed.processes import ManagedProcesses
from poolform.provisioners.managed.variables import ManagedVariables
from poolform.testing import PoolTypeContract

NO_ENGINE = "unix:///no/such.sock"


@pytest.mark.slow
class TestManaged(PoolTypeContract):
    pool_type = Managed

    @pytest.fixture(autouse=True)
    def _somewhere(self, folder):
        type(self).examples = ({"folder": str(folder), "isolation": "process"},)


def connection(folder, isolation="auto", host=NO_ENGINE):
    settings = {"folder": str(folder), "pool_id": "p1", "isolation": isolation, "docker_host": host, "keep": 3600.0}
    return Connection(settings=settings)


def test_without_an_engine_auto_is_processes_and_stays_so(folder):
    launcher = Managed().launcher(connection(folder), None)
    assert isinstance(launcher, ManagedProcesses)
    launcher.close()
    launcher = Managed().launcher(connection(folder, host="unix:///var/run/docker.sock"), None)
    assert isinstance(launcher, ManagedProcesses), "an engine that comes later must not hide the jobs there are"
    launcher.close()


@pytest.mark.docker
def test_with_an_engine_auto_is_containers(folder, engine):
    launcher = Managed().launcher(connection(folder, host="unix:///var/run/docker.sock"), None)
    assert isinstance(launcher, ManagedContainers)
    finding = Managed().authenticate(connection(folder, host="unix:///var/run/docker.sock"), None)
    assert (finding.verdict, finding.message) == ("allowed", "Jobs are containers.")
    launcher.close()


def test_an_engine_that_is_asked_for_must_be_there(folder):
    asked = ManagedVariables(folder=str(folder), isolation="container", docker_host=NO_ENGINE)
    missing = [finding for finding in Managed().preflight(asked, []) if finding.verdict == "missing"]
    assert [finding.subject for finding in missing] == ["a Docker engine"]
    assert Managed().authenticate(connection(folder, "container"), None).verdict == "missing"


@root
def test_root_s_jobs_are_users_of_their_own(folder):
    asked = ManagedVariables(folder=str(folder), isolation="process")
    assert [finding for finding in Managed().preflight(asked, []) if finding.subject == "isolation"] == []
    assert (
        Managed().authenticate(connection(folder, "process"), None).message
        == "Jobs are processes with a user of their own."
    )
    assert Managed().discover() == {"folder": "/var/lib/poolform/managed"}


def test_others_are_told_what_their_jobs_can_read(folder, monkeypatch, home):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    asked = ManagedVariables(folder=str(folder), isolation="process")
    (finding,) = [finding for finding in Managed().preflight(asked, []) if finding.subject == "isolation"]
    assert finding.verdict == "unknown"
    assert "can read Poolform's home" in finding.message
    assert Managed().discover() == {"folder": str(home / "managed")}


def test_taking_it_apart_twice_is_fine(folder):
    assert isinstance(Managed(), Disconnects)
    assert isinstance(Managed(), ChecksCredentials)
    Managed().disconnect(connection(folder, "process"), None)
    Managed().disconnect(connection(folder, "process"), None)
    assert not folder.exists()


def test_job_variables_make_a_template():
    check_template(base_job_template(Managed))
