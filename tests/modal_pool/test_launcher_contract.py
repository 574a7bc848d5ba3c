"""The Modal launcher keeps the launcher contract: Modal's own SDK, a stand-in of its service.

What that cannot prove is in docs/pool-types/modal.md.
"""

from __future__ import annotations

import pytest
from clouds.modal import TOKEN

from poolform.provisioners.modal.launcher import ModalLauncher
from poolform.provisioners.modal.tokens import Token
from poolform.testing.launchers import LauncherContract

pytestmark = pytest.mark.slow


class TestModalLauncher(LauncherContract):
    python = ("python",)
    configuration = {"image": "python:3.12-slim"}
    # Modal tells nobody that a Sandbox has ended.
    test_an_end_is_heard_of = None
    # Modal keeps the record of an ended Sandbox, and nobody can delete it: test_launcher.py.
    test_remove_leaves_nothing_behind = None

    @pytest.fixture
    def connect(self, modal_service):
        return lambda: ModalLauncher(lambda: Token(*TOKEN), "poolform-contract", None, settle=0.3)

    @pytest.fixture
    def leftovers(self, modal_service):
        return lambda: list(modal_service.boxes)
