"""Stops plans after which a pool would have more resources than POOL_MOST_RESOURCES, which is 50 unless it is set."""

import os

from poolform import Review, hookimpl

GONE = ("destroy", "forget")


@hookimpl
def poolform_review_plan(pool, plan):
    bound = int(os.environ.get("POOL_MOST_RESOURCES", "50"))
    left = plan.kept + sum(change.action not in GONE for change in plan.changes)
    grows = any(change.action in ("create", "import") for change in plan.changes)
    if left > bound and grows:  # what is there already may always be changed and taken away
        yield Review("error", f"the pool would have {left} resources, and {bound} are the most that are allowed")
