"""What a script works with, as the command line's session is what a command does."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolform.core.blocks import Blocks
from poolform.core.errors import PoolformError
from poolform.core.plugins import Plugins, load_plugins
from poolform.core.settings import Settings
from poolform.core.store.database import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger("poolform")


@dataclass(frozen=True)
class Opened:
    """Settings, database, plugins and blocks of one call from a script."""

    settings: Settings
    store: Store[Any]
    plugins: Plugins
    blocks: Blocks


@contextmanager
def opened() -> Iterator[Opened]:
    """Open what the environment names, for as long as this lasts.

    An expected error shows its hint below its sentence, in the traceback that ends a script.
    """
    try:
        settings = Settings.from_environment()
        plugins = load_plugins(settings)
        with open_store(settings) as store:
            yield Opened(settings, store, plugins, Blocks(store, settings, os.environ))
    except PoolformError as exc:
        if exc.hint and exc.hint not in getattr(exc, "__notes__", ()):
            exc.add_note(exc.hint)
        raise


def tell(text: str) -> None:
    """Tell whoever runs a script something: by the logger `poolform`, on stderr where nobody has set up logging."""
    if not _log.hasHandlers():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        _log.addHandler(handler)
        _log.setLevel(logging.INFO)
        _log.propagate = False
    _log.info("%s", text)
