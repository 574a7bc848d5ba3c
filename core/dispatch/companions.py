"""Companions of a worker: what goes on beside its dispatching, each in a thread of its own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from poolform.core.dispatch.tasks import Backoff
from poolform.core.errors import StoreError
from poolform.core.pools.catalogue import reason

if TYPE_CHECKING:
    from poolform.core.dispatch.tasks import Listener
    from poolform.core.store.database import Store


class Companion(ABC):
    """Does something now and then, as long as a worker runs. Where the store is away, it waits for that."""

    def __init__(self, store: Store[Any], listener: Listener, name: str) -> None:
        self.store, self.listener = store, listener
        self._bell = threading.Event()
        self._stopping = False
        self._trouble = Backoff(60.0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def turn(self) -> float:
        """Do what is to be done and return in how many seconds to be asked again. May raise StoreError."""

    def finish(self) -> None:
        """Do what is left at the end. May raise StoreError."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ring(self) -> None:
        """Ask for a turn now. May be called from any thread."""
        self._bell.set()

    def stop(self) -> None:
        """End, and wait for that."""
        self._stopping = True
        self._bell.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def stopping(self) -> bool:
        """Say whether it was asked to end."""
        return self._stopping

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._bell.clear()
                pause = self._safely(self.turn)
                if not self._stopping:
                    self._bell.wait(pause)
            self._safely(self._finish)
        finally:
            self.store.leave()

    def _finish(self) -> float:
        self.finish()
        return 0.0

    def _safely(self, act: Any) -> float:
        try:
            pause: float = act()
        except StoreError:
            return self._trouble.fail()  # the worker says so, too
        except Exception as exc:  # noqa: BLE001 - what goes on beside the dispatching must not end unseen
            pause = self._trouble.fail()
            self.listener.trouble("", f"{self._thread.name} failed: {reason(exc)}; again in {pause:.1f} s")
            return pause
        self._trouble.succeed()
        return pause
