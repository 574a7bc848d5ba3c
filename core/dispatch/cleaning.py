"""Cleaning: what is past its retention goes, a little at a time, while the worker works."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from poolform.core.dispatch.companions import Companion
from poolform.core.store import news, retention

if TYPE_CHECKING:
    from poolform.core.dispatch.tasks import Listener
    from poolform.core.store.database import Store

_EVERY = 600.0  # seconds between two looks whether there is something to clean
_BREATH = 1.0  # seconds between two batches


class Cleaner(Companion):
    """Deletes runs that ended more than `keep` seconds ago, and news for plugins that nobody loads any more.

    Any number of workers may do so at a time. `keep` None keeps all runs.
    """

    def __init__(self, store: Store[Any], listener: Listener, *, keep: float | None, every: float = _EVERY) -> None:
        super().__init__(store, listener, "cleaning")
        self._keep, self._every = keep, every

    def turn(self) -> float:
        """Delete one batch."""
        more = False
        with self.store.write(notify=False) as tx:
            news.forget(tx)
            if self._keep is not None:
                more = retention.prune(tx, tx.now() - self._keep).more
        return _BREATH if more else self._every * random.uniform(0.8, 1.2)  # noqa: S311 - so that not all come at once
