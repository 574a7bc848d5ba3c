"""How often an API may be asked: all jobs of a launcher share what it allows, and some questions cannot wait."""

from __future__ import annotations

import threading
import time
from collections import deque

_REST = 10.0  # seconds of silence after the platform has said that it was too often


class Pace:
    """Allows so many questions a minute; the last third of them only to urgent ones. Thread-safe."""

    def __init__(self, a_minute: int) -> None:
        self._most, self._asked, self._silent_until = a_minute, deque[float](), 0.0
        self._lock = threading.Lock()

    def allows(self, *, urgent: bool) -> bool:
        """Say whether a question may be asked now, and count it if so."""
        with self._lock:
            now = time.monotonic()
            while self._asked and now - self._asked[0] > 60:
                self._asked.popleft()
            most = self._most if urgent else self._most * 2 // 3
            if now < self._silent_until or len(self._asked) >= most:
                return False
            self._asked.append(now)
            return True

    def rest(self) -> None:
        """Ask nothing for a while."""
        with self._lock:
            self._silent_until = time.monotonic() + _REST
