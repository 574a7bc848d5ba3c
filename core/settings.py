"""Where Poolform keeps things, and what the environment asks of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from poolform.core.errors import PoolformError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Settings:
    """One process's settings, read once from its environment.

    `home` holds all that Poolform writes; it is made private (0700) on first use.
    """

    home: Path
    database_url: str
    terraform: str | None = None
    plugins: tuple[str, ...] | None = None
    trace_plugins: bool = False
    retention: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment's settings.

        POOLFORM_HOME, _DATABASE_URL, _TERRAFORM, _PLUGINS (names separated by commas), _TRACE_PLUGINS and _RETENTION.
        Raises PoolformError where nothing says where home is.
        """
        env = os.environ if environ is None else environ
        try:
            home = Path(env.get("POOLFORM_HOME") or Path.home() / ".poolform").expanduser().absolute()
        except RuntimeError as exc:  # a container's nameless user id, without HOME
            raise PoolformError(
                "Poolform has no place to keep things: you have no home folder.",
                hint="Set POOLFORM_HOME to a folder that you may write to.",
            ) from exc
        plugins = env.get("POOLFORM_PLUGINS")
        return cls(
            home=home,
            database_url=env.get("POOLFORM_DATABASE_URL") or f"sqlite:///{home / 'poolform.db'}",
            terraform=env.get("POOLFORM_TERRAFORM") or None,
            plugins=None if plugins is None else tuple(filter(None, map(str.strip, plugins.split(",")))),
            trace_plugins=env.get("POOLFORM_TRACE_PLUGINS", "") not in ("", "0"),
            retention=env.get("POOLFORM_RETENTION") or None,
        )

    def folder(self, *parts: str) -> Path:
        """Return a private folder below home, made if it is not there.

        Raises PoolformError when home cannot be written.
        """
        path = self.home
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for part in parts:  # one by one: what mkdir makes on the way has not this mode
                path /= part
                path.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise PoolformError(
                f"Poolform's home {self.home} cannot be written: {exc.strerror or exc}.",
                hint="Set POOLFORM_HOME to a folder that you may write to.",
            ) from exc
        return path
