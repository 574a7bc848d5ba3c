"""The pool type contract as tests. Subclass, say what pools of this type may look like, and run pytest:

    class TestLab(PoolTypeContract):
        pool_type = Lab
        examples = ({"region": "eu-1"}, {"region": "eu-1", "network": "n-1"})
        schemas = (schema("acme/lab", resources={"lab_cluster": {"name": Required("string"), …}}),)
        behaviour = {"lab_cluster": Resource(unique=("name",))}

Needs `pytest_plugins = ["poolform.testing.fixtures"]` in a conftest.py, and Terraform or OpenTofu. Each test is one
rule of `poolform.core.pools.contract`, and its failure says which.
"""  # noqa: D400 - the example is the point

from __future__ import annotations

from poolform.testing.pool_types.living import Living
from poolform.testing.pool_types.rendering import Rendering


class PoolTypeContract(Rendering, Living):
    """Every pool type passes these. Set `pool_type`, and whatever else `PoolTypeCase` lists and the type needs."""


__all__ = ["PoolTypeContract"]
