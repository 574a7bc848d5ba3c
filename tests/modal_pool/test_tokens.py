"""A token is found where Modal's own tools find it, and is told to nobody."""

from __future__ import annotations

import pytest

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Credential
from poolform.provisioners.modal import tokens

FILE = """
[one]
token_id = "ak-one"
token_secret = "as-one"

[two]
token_id = "ak-two"
token_secret = "as-two"
active = true
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "modal.toml"
    path.write_text(FILE)
    return {"MODAL_CONFIG_PATH": str(path)}


def test_the_active_profile_is_taken(file):
    assert tokens.found(file) == tokens.Token("ak-two", "as-two")


def test_a_profile_may_be_named(file):
    assert tokens.found({**file, "MODAL_PROFILE": "one"}).id == "ak-one"


def test_the_environment_wins(file):
    assert tokens.found({**file, "MODAL_TOKEN_ID": "ak-env", "MODAL_TOKEN_SECRET": "as-env"}).id == "ak-env"


@pytest.mark.parametrize("text", ["", "[one]\ntoken_id = 'ak-one'\n", "[one]\n[two]\n"])
def test_without_a_token_it_says_what_to_do(tmp_path, text):
    path = tmp_path / "modal.toml"
    path.write_text(text)
    with pytest.raises(PoolformError, match="There is no Modal token here") as told:
        tokens.found({"MODAL_CONFIG_PATH": str(path)})
    assert "modal setup" in told.value.hint


def test_a_file_that_is_broken_is_named(tmp_path):
    path = tmp_path / "modal.toml"
    path.write_text("[[[")
    with pytest.raises(PoolformError, match=rf"Modal's file {path} cannot be read"):
        tokens.found({"MODAL_CONFIG_PATH": str(path)})


def test_a_token_is_told_to_nobody():
    token = tokens.of(Credential("modal-credentials", {"token_id": "ak-1", "token_secret": "as-hush"}))
    assert token.secret == "as-hush"
    assert "as-hush" not in repr(token)
