"""Stops plans outside of the regions that POOL_REGIONS allows: names and patterns, such as "eu-*,us-east-1"."""

import os
from fnmatch import fnmatchcase

from poolform import Review, hookimpl

# What the providers of AWS, Azure and Google Cloud call it.
ATTRIBUTES = ("region", "location")


@hookimpl
def poolform_review_plan(pool, plan):
    allowed = [pattern.strip() for pattern in os.environ.get("POOL_REGIONS", "*").split(",")]
    for address, region in regions(pool, plan):
        if not any(fnmatchcase(region, pattern) for pattern in allowed):
            yield Review("error", f"{region} is not one of the allowed regions ({', '.join(allowed)})", address)


def regions(pool, plan):
    """Yield where each resource would be, and where the pool is said to be. What is to be destroyed may be anywhere."""
    changes = [change for change in plan.changes if change.action != "destroy"]
    if changes and pool.variables.get("region"):
        yield None, pool.variables["region"]
    for change in changes:
        for name in ATTRIBUTES:
            if (change.after or {}).get(name):
                yield change.address, change.after[name].lower()
