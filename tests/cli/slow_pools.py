"""A pool type that takes its time, for what people do meanwhile."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from poolform import PoolType, Variables, hookimpl


class SlowVariables(Variables):
    region: str = Field(description="Where the pool runs.")
    seconds: float = 0


class Slow(PoolType):
    slug = "slow"
    title = "Slow"
    variables = SlowVariables
    templates = Path(__file__).with_name("templates") / "slow"

    def launcher(self, connection, credential):
        raise AssertionError("no test launches here")


@hookimpl
def poolform_pool_types():
    return [Slow]
