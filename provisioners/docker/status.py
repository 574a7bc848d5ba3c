"""What the engine says of a container, in the launcher contract's words and a person's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.core.runs.launchers import JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.runs.launchers import Json

RUNNING = frozenset({"running", "paused", "restarting"})


def status_of(container: Mapping[str, Json]) -> JobStatus:
    """Return the status of a container as `inspect` shows it."""
    state = container["State"]
    if state["Status"] in RUNNING:
        return JobStatus("running")
    if state["Status"] == "created" and not state.get("Error"):
        return JobStatus("starting")
    return JobStatus("exited", state.get("ExitCode"), _reason(container))


def never_started(container: Mapping[str, Json]) -> bool:
    """Say whether a container was made and not started."""
    return bool(container["State"]["Status"] == "created")


def _reason(container: Mapping[str, Json]) -> str | None:
    state, config = container["State"], container["Config"]
    if state.get("OOMKilled"):
        limit = container["HostConfig"].get("Memory") or 0
        had = f": it had {limit / 2**20:.0f} MiB" if limit else ""
        return f"ran out of memory{had}; give it more with the job variable mem_limit"
    if state.get("Error"):
        return str(state["Error"])
    program = next(iter(config.get("Cmd") or ()), "the program")
    if state.get("ExitCode") == 127:
        return f"a program was not found: is there a {program} in the image {config['Image']}?"
    if state.get("ExitCode") == 126:
        return f"a program cannot be executed: is {program} one for this machine, in the image {config['Image']}?"
    return None
