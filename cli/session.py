"""What one command works with, each opened only when it is first used."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from poolform.cli.view import say
from poolform.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolform.core.blocks import Blocks
    from poolform.core.plugins import Plugins
    from poolform.core.pools.planning import Context
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
    def store(self) -> Store[Any]:
        """The database, made or migrated if need be."""
        from poolform.core.store.database import open_store

        return open_store(self.settings)

    @cached_property
    def plugins(self) -> Plugins:
        """All plugins. What keeps one from being there is said, once: a person may miss what it brings, or does."""
        for problem in self.loaded.problems:
            hint = f" {problem.hint}" if problem.hint else ""
            say(f"Warning: {problem.message}{hint}", "yellow")
        return self.loaded

    @cached_property
    def loaded(self) -> Plugins:
        """All plugins, for a command that itself says what is wrong with some."""
        from poolform.core.plugins import load_plugins

        return load_plugins(self.settings, trace=_trace)

    @cached_property
    def blocks(self) -> Blocks:
        """The encrypted blocks."""
        from poolform.core.blocks import Blocks

        return Blocks(self.store, self.settings, os.environ)

    @contextmanager
    def working(self) -> Iterator[Context]:
        """Yield what the way of a pool needs, with progress shown for as long as this lasts."""
        from poolform.cli.progress import progress
        from poolform.core.pools.planning import Context
        from poolform.core.pools.workspaces import clear_abandoned

        clear_abandoned(self.settings)
        with progress() as display:
            yield Context(self.settings, self.store, self.plugins, self.blocks, os.environ, display)


def _trace(text: str) -> None:
    sys.stderr.write(text)
