"""Progress of long work: a live display on a terminal, plain lines elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from poolform.cli.view import say, styled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from poolform.core.terraform.engine import ResourceEvent

_DONE = {"create": "created", "update": "changed", "delete": "destroyed", "read": "read", "import": "adopted"}
_DOING = {"create": "creating", "update": "changing", "delete": "destroying", "read": "reading", "import": "adopting"}
_BESIDE = 10
"""Columns of a terminal that a spinner and a time of up to 9:59:59 take, with the gaps."""
_SLOW = 10.0
"""Seconds after which a plain log says that a resource is still being worked on."""


class _Words:
    """What is said of a resource: what the plan said of it, once there is one."""

    def __init__(self) -> None:
        self._planned: Mapping[str, str] = {}

    def expect(self, sentences: Mapping[str, str]) -> None:
        """Hear what is going to be done, as a plan's sentences by address."""
        self._planned = sentences

    def doing(self, event: ResourceEvent) -> str:
        """Say what is being done."""
        return self._planned.get(event.address) or f"{event.address}: {_DOING.get(event.action, event.action)}"

    def done(self, event: ResourceEvent, *, ticked: bool = False) -> str:
        """Say what was done, and in what time; what failed with its address, which Terraform's errors speak of.

        `ticked` is what has a mark before it that says so.
        """
        named = self._planned.get(event.address) or event.address
        outcome = _DONE.get(event.action, event.action)
        if event.phase == "errored":
            named, outcome = named if event.address in named else f"{named} ({event.address})", "failed"
        elif event.address in self._planned and not named.startswith("Replace "):  # that is done in two steps
            if ticked:
                return f"{named} ({event.elapsed:.0f} s)"
            outcome = "done"
        return f"{named}: {outcome} after {event.elapsed:.0f} s"


class PlainProgress(_Words):
    """A line for each thing that is done, for logs and pipes."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let a person read and answer."""
        yield

    def on_step(self, text: str) -> None:
        """Say that a step begins."""
        say(f"{text} ...")

    def on_notice(self, text: str) -> None:
        """Say it."""
        say(text, "yellow")

    def on_resource(self, event: ResourceEvent) -> None:
        """Say what was done, and now and then what takes long."""
        if event.phase == "complete":
            say(f"  {self.done(event)}")
        elif event.phase == "errored":
            say(f"  {self.done(event)}", "red")
        elif event.phase == "progress" and time.monotonic() - self._said.get(event.address, 0.0) > _SLOW:
            self._said[event.address] = time.monotonic()
            named, doing = self._planned.get(event.address) or event.address, _DOING.get(event.action, event.action)
            say(f"  {named}: still {doing}, {event.elapsed:.0f} s")


class LiveProgress(_Words):
    """A spinner for the step at hand and one for each resource that is being worked on."""

    def __init__(self, rich: RichProgress) -> None:
        super().__init__()
        self._rich = rich
        self._step: TaskID | None = None
        self._resources: dict[str, TaskID] = {}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the display away while a person reads and answers."""
        self.end_step()
        self._rich.stop()
        try:
            yield
        finally:
            self._rich.start()

    def on_step(self, text: str) -> None:
        """Show the step; the one before is done."""
        self.end_step()
        self._step = self._rich.add_task(text, total=None)

    def end_step(self) -> None:
        """Take the step away."""
        if self._step is not None:
            self._rich.remove_task(self._step)
            self._step = None

    def on_notice(self, text: str) -> None:
        """Print above the live part."""
        self._rich.console.print(text, style="yellow", markup=False, highlight=False)

    def on_resource(self, event: ResourceEvent) -> None:
        """Show what is being worked on; print what is done."""
        if event.phase == "start":
            self._resources[event.address] = self._rich.add_task(f"  {self.doing(event)}", total=None)
            return
        if event.phase == "progress":
            return
        task = self._resources.pop(event.address, None)
        if task is not None:
            self._rich.remove_task(task)
        failed = event.phase == "errored"
        mark = styled("✗", "red", stream=sys.stderr) if failed else styled("✓", "green", stream=sys.stderr)
        say(f"  {mark} {self.done(event, ticked=True)}")


@contextmanager
def progress() -> Iterator[PlainProgress | LiveProgress]:
    """Yield whichever display fits where stderr goes."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield PlainProgress()
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = Console(stderr=True)
    # A long description is cut short; else it would push the other two off the line.
    middle = Column(no_wrap=True, overflow="ellipsis", max_width=max(console.width - _BESIDE, 1))
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=middle),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as rich:
        live = LiveProgress(rich)
        yield live
        live.end_step()
