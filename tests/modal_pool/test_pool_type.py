"""The Modal pool type keeps the contract; its token is kept, checked and given up as a block."""

from __future__ import annotations

import pytest
from clouds.modal import TOKEN, WORKSPACE

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Connection, Credential
from poolform.provisioners.modal.pool_type import ModalPush
from poolform.provisioners.modal.variables import ModalVariables
from poolform.testing import PoolTypeContract


@pytest.mark.slow
class TestModal(PoolTypeContract):
    pool_type = ModalPush
    examples = ({"credentials": "ambient"}, {}, {"environment": "staging"})


def connection(credentials="token"):
    return Connection(settings={"app": "poolform-ab12cd34", "environment": None, "credentials": credentials})


STORED = Credential("modal-credentials", {"token_id": TOKEN[0], "token_secret": TOKEN[1]}, TOKEN[0])


def test_the_workspace_is_the_account(modal_service):
    who = ModalPush().identity(ModalVariables())
    assert (who.principal, who.account) == (f"the token {TOKEN[0]}", WORKSPACE)


def test_a_token_that_modal_does_not_take_is_a_sentence(modal_service, monkeypatch):
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-wrong-hush")
    with pytest.raises(PoolformError, match="Modal does not accept the token") as told:
        ModalPush().identity(ModalVariables())
    assert "as-wrong-hush" not in str(told.value)
    wrong = Credential("modal-credentials", {"token_id": TOKEN[0], "token_secret": "as-wrong-hush"})
    finding = ModalPush().authenticate(connection(), wrong)
    assert finding.verdict == "missing"
    assert "as-wrong-hush" not in finding.message


def test_the_token_here_is_kept_in_a_block(modal_service):
    pool_type = ModalPush()
    assert pool_type.wants_key(ModalVariables())
    assert not pool_type.wants_key(ModalVariables(credentials="ambient"))
    minted = pool_type.mint(ModalVariables(), connection())
    assert (minted.block_type, minted.key_id) == ("modal-credentials", TOKEN[0])
    assert pool_type.issued(ModalVariables(), connection()) == [TOKEN[0]]
    assert TOKEN[1] not in repr(minted)
    assert pool_type.authenticate(connection(), minted).verdict == "allowed"


def test_a_launcher_without_its_block_says_what_to_do():
    with pytest.raises(PoolformError, match="credentials block is gone"):
        ModalPush().launcher(connection(), None)


def test_taking_it_apart_twice_is_fine(modal_service):
    ModalPush().disconnect(connection(), STORED)
    ModalPush().disconnect(connection(), STORED)
