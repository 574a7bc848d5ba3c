"""How slots are shown: the same for a pool and for a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.cli.view import Format, iso, say, show_json, table, when
from poolform.core.errors import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.store.slots import Slot


def show_slots(name: str, limit: int | None, slots: Sequence[Slot], waiting: int, output: Format) -> None:
    """Show who takes the slots of a pool or queue, and how many runs wait for one."""
    if output is Format.json:
        show_json(
            {
                "name": name,
                "limit": limit,
                "taken": len(slots),
                "free": None if limit is None else max(0, limit - len(slots)),
                "waiting": waiting,
                "slots": [
                    {
                        "name": slot.name,
                        "id": slot.run_id,
                        "deployment": slot.deployment,
                        "queue": slot.queue,
                        "state": slot.state,
                        "since": iso(slot.since),
                        "worker": slot.worker,
                        "lease_expires_at": iso(slot.lease_expires_at),
                    }
                    for slot in slots
                ],
            }
        )
        return
    rows = [(s.run_id[:12], s.name, s.deployment, s.queue, s.state, when(s.since), s.worker or "gone") for s in slots]
    columns = ("ID", "RUN", "DEPLOYMENT", "QUEUE", "STATE", "SINCE", "WORKER")
    table(columns, rows, empty=f"No run takes a slot of {name}.")
    places = "no limit" if limit is None else f"{len(slots)} of {counted(limit, 'slot')} taken"
    say(f"{places}; {counted(waiting, 'run')} due and waiting.")
