"""Pool types that are wrong in one way each, and one that is right."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from poolform import Outputs, PoolType, Provider, Variables, hookimpl


class LabVariables(Variables):
    region: str = Field(description="Where the pool runs.")
    count_of: int = 1
    speed: Literal["slow", "fast"] = "slow"
    tags: dict[str, str] = {}


class Lab(PoolType):
    slug = "lab:push"
    title = "Lab"
    variables = LabVariables
    templates = Path(__file__).with_name("templates") / "lab"

    def launcher(self, connection, credential):
        raise AssertionError("no test launches here")


class NoProvider(Lab):
    slug = "no-provider"
    providers = {"nowhere": Provider("poolform-tests/nowhere", "~> 1.0")}
    templates = Path(__file__).with_name("templates") / "no-provider"


class Fails(Lab):
    slug = "fails"
    templates = Path(__file__).with_name("templates") / "fails"


class LacksVariable(Lab):
    slug = "lacks-variable"
    templates = Path(__file__).with_name("templates") / "lacks-variable"


class WrongOutputs(Lab):
    slug = "wrong-outputs"
    outputs = type("WrongOutputs", (Outputs,), {"__annotations__": {"cluster": str}})


class Existing(Lab):
    """Needs no infrastructure, and so no Terraform."""

    slug = "existing"
    templates = None


@hookimpl
def poolform_pool_types():
    return [Lab, NoProvider, Fails, LacksVariable, WrongOutputs, Existing]
