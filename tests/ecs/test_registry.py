"""The login for the pool's ECR repository, as moto's ECR hands it out."""

from __future__ import annotations

import pytest
from moto import mock_aws

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Connection
from poolform.provisioners.ecs import registry
from poolform.provisioners.ecs.pool_type import EcsPush

REPOSITORY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/poolform-x"
CONNECTION = Connection(settings={"region": "eu-west-1"}, image_namespace=REPOSITORY)


def test_a_login_is_asked_for_as_whoever_deploys(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        login = EcsPush().registry_login(CONNECTION)
    assert (login.registry, login.username) == ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "AWS")
    assert login.password
    assert login.password not in repr(login)


def test_without_credentials_it_says_so(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(PoolformError, match="Getting a login for the pool's registry failed"):
        registry.login(CONNECTION)


def test_names_become_tags_of_the_one_repository():
    assert registry.reference(CONNECTION, "team-image", "latest") == f"{REPOSITORY}:team-image-latest"
    long = registry.reference(CONNECTION, "a" * 200, "1")
    assert len(long.rpartition(":")[2]) == 128
