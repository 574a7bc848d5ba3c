"""What a log says while a plan is carried out: the plan's own words, and the address where something failed."""

from __future__ import annotations

from poolform.cli.progress import PlainProgress
from poolform.core.terraform.engine import ResourceEvent

PLANNED = {
    "lab_oven.a": "Create an oven",
    "lab_bench.a": "Replace the bench b1, because size changed",
    "lab_shelf.a": "Create a shelf (lab_shelf.a)",
}


def event(phase, address, action="create", elapsed=0.0):
    return ResourceEvent(phase, address, address.partition(".")[0], action, elapsed)


def test_what_is_done_is_told_in_the_plans_words(capsys):
    progress = PlainProgress()
    progress.on_resource(event("complete", "data.lab_zone.a", "read", 1))
    progress.expect(PLANNED)
    for told in (
        event("start", "lab_oven.a"), event("progress", "lab_oven.a", elapsed=12),
        event("complete", "lab_oven.a", elapsed=14),
        event("complete", "lab_bench.a", "delete"), event("complete", "lab_bench.a"), event("errored", "lab_oven.a"),
        event("errored", "lab_shelf.a"), event("complete", "data.lab_zone.b", "read"),
    ):  # fmt: skip
        progress.on_resource(told)
    assert capsys.readouterr().err.splitlines() == [
        "  data.lab_zone.a: read after 1 s",
        "  Create an oven: still creating, 12 s",
        "  Create an oven: done after 14 s",
        "  Replace the bench b1, because size changed: destroyed after 0 s",
        "  Replace the bench b1, because size changed: created after 0 s",
        "  Create an oven (lab_oven.a): failed after 0 s",
        "  Create a shelf (lab_shelf.a): failed after 0 s",
        "  data.lab_zone.b: read after 0 s",
    ]
