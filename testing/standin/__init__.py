"""A stand-in Terraform provider: real schemas or your own, an imaginary cloud, faults on request.

Terraform itself is real: it plans, applies, imports and destroys against this provider over its plugin protocol. That
proves of a module that it fits the schema, is wired, settles (a second plan is empty) and resumes after failures. It
can't prove that the real cloud accepts it.

    from poolform.testing.standin import Computed, Optional, Required, Resource, fail, schema

    LAB = schema("acme/lab", resources={"lab_cluster": {"name": Required("string"), "id": Computed("string")}})

    def test_resumes(standin):                     # the fixture of poolform.testing.fixtures
        cloud = standin(LAB, behaviour={"lab_cluster": Resource(unique=("name",))})
        cloud.inject(fail("create", "lab_cluster"))
        ...
"""

from __future__ import annotations

from poolform.testing.standin.behaviour import Behaviour, Resource, Validator
from poolform.testing.standin.cloud import Call, Cloud
from poolform.testing.standin.faults import Fault, crash, fail, slow, throttle
from poolform.testing.standin.schema import (
    Blocks,
    Computed,
    Optional,
    Required,
    Schema,
    parse_schema,
    read_schema,
    schema,
)
from poolform.testing.standin.serve import Attached, cli_config, install

__all__ = [
    "Attached",
    "Behaviour",
    "Blocks",
    "Call",
    "Cloud",
    "Computed",
    "Fault",
    "Optional",
    "Required",
    "Resource",
    "Schema",
    "Validator",
    "cli_config",
    "crash",
    "fail",
    "install",
    "parse_schema",
    "read_schema",
    "schema",
    "slow",
    "throttle",
]
