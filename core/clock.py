"""The clock that leases go by on this machine."""

from __future__ import annotations

import time


def clock() -> float:
    """Return seconds that also pass while the machine sleeps, where it can tell: leases go on expiring then."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return float(time.clock_gettime(time.CLOCK_BOOTTIME))
    return time.monotonic()
