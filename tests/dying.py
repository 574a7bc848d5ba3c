"""Resources that Terraform's stand-in provider is asked to make, and how that dies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from people import kill_tree

from poolform.testing.standin import fail, slow

if TYPE_CHECKING:
    import subprocess

    from poolform.testing.standin import Cloud, Fault
    from poolform.testing.standin.cloud import Call

DYING = {
    "refused": "the call is refused",
    "refused after": "it is done, and answered with an error",
    "killed": "power cut between the object and the state",
}
SETTLING = 0.8
"""Seconds without another object being lost to a power cut, after which the power is cut."""


def trouble(way: str, type_: str, times: int) -> Fault:
    """Return what lets the next creations of this type die in this way, that many."""
    if way == "killed":
        return slow("create", type_, seconds=120, when="after", interruptible=True, times=times)
    return fail("create", type_, when="after" if "after" in way else "before", times=times)


def struck(cloud: Cloud) -> list[Call]:
    """Return the creations that met their trouble."""
    return [call for call in cloud.calls("create") if call.fault]


def die_when_struck(process: subprocess.Popen[str], cloud: Cloud) -> None:
    """Let everything that can be made at once be made, then cut the power; or let the process end."""
    before, quiet = len(struck(cloud)), 0.0
    while process.poll() is None:
        time.sleep(0.1)
        quiet = quiet + 0.1 if len(struck(cloud)) > before else 0.0
        if quiet > SETTLING:
            kill_tree(process.pid)
