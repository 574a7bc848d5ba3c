"""What one command works with, each opened only when it is first used."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from poolform.core.settings import Settings

if TYPE_CHECKING:
    from poolform.core.blocks import Blocks
    from poolform.core.plugins import Plugins
    from poolform.core.store.database import Store


@dataclass
class Session:
    """Settings, database, plugins and blocks of one run of the command line."""

    debug: bool = False
    no_plugins: bool = False

    @classmethod
    def of(cls, ctx: Any) -> Session:
        """Return the session of a Typer context, wherever in the command tree it stands."""
        session = ctx.find_object(cls)
        return session if session is not None else ctx.ensure_object(cls)  # type: ignore[no-any-return]

    @cached_property
    def settings(self) -> Settings:
        """Settings from the environment."""
        settings = Settings.from_environment(os.environ)
        return replace(settings, plugins=()) if self.no_plugins else settings

    @cached_property
    def store(self) -> Store:
        """The database, made or migrated if need be."""
        from poolform.core.store.database import open_store

        return open_store(self.settings)

    @cached_property
    def plugins(self) -> Plugins:
        """All plugins."""
        from poolform.core.plugins import load_plugins

        return load_plugins(self.settings, trace=sys.stderr.write)

    @cached_property
    def blocks(self) -> Blocks:
        """The encrypted blocks."""
        from poolform.core.blocks import Blocks

        return Blocks(self.store, self.settings, os.environ)
