"""Jobs that a launcher has removed, while their platform still lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Removed:
    """The handles of removed jobs, each for some `seconds` on `clock`: by then the platform has forgotten it, too."""

    def __init__(self, clock: Callable[[], float], seconds: float = 3600.0) -> None:
        self._clock, self._seconds = clock, seconds
        self._at: dict[str, float] = {}

    def add(self, handle: str) -> None:
        """Remember that a job was removed now."""
        now = self._clock()
        self._at = {old: at for old, at in self._at.items() if now - at < self._seconds} | {handle: now}

    def __contains__(self, handle: str) -> bool:
        return handle in self._at
