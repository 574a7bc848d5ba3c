"""The built-in pool types keep the contract that strangers' are held to.

Those of AWS are tried with the real provider instead (tests/ecs); their launchers, where they live.
"""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from pydantic import ValidationError

from poolform.provisioners.process import Process, ProcessVariables
from poolform.testing import PoolTypeContract


class TestProcess(PoolTypeContract):
    pool_type = Process
    examples = ({"folder": "/var/lib/poolform"},)
    strategies = {"folder": st.text(max_size=40).map(lambda text: f"/{text}")}

    def test_the_home_of_nobody_is_refused(self):
        with pytest.raises(ValidationError):
            ProcessVariables(folder="~nobody-of-that-name/jobs")
