"""The keys that blocks are encrypted with, which never enter the database.

They come from POOLFORM_SECRET_KEYS (comma-separated, the first one encrypts) or from the file `secret.keys` in
Poolform's home (0600, one a line, made on first use).
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from poolform.core.errors import SecretsUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cryptography.fernet import MultiFernet

    from poolform.core.settings import Settings

VARIABLE = "POOLFORM_SECRET_KEYS"
FILE = "secret.keys"


class Keys:
    """The keys of this environment. Who stores what they encrypt holds them meanwhile, so that none is forgotten."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._given = environ.get(VARIABLE, "")
        self._path = settings.home / FILE

    @property
    def replaceable(self) -> bool:
        """Say whether they are in our file, and not the caller's to change."""
        return not self._given

    @property
    def where(self) -> str:
        """Name the place that they come from."""
        return VARIABLE if self._given else str(self._path)

    def read(self) -> list[str]:
        """Return the keys, the one that encrypts first; none where none was ever made here."""
        if self._given:
            return [key.strip() for key in self._given.split(",") if key.strip()]
        try:
            return self._path.read_text(encoding="ascii").split()
        except FileNotFoundError:
            return []

    def made(self) -> list[str]:
        """Return the keys, made on first use."""
        if not self._given and not self._path.exists():
            with self.alone():
                if not self._path.exists():
                    self.replace([new_key()])
        return self.read()

    @contextmanager
    def held(self) -> Iterator[list[str]]:
        """Yield the keys, made on first use; none of them is replaced for as long as this lasts."""
        self.made()
        with self._locked(fcntl.LOCK_SH):
            yield self.read()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep everybody else on this machine from holding keys, and from replacing them. Not to be taken twice."""
        with self._locked(fcntl.LOCK_EX):
            yield

    def replace(self, keys: Sequence[str]) -> None:
        """Write the file anew, whole or not at all. To be done alone."""
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write("\n".join(keys) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # blocks are about to depend on it
        finally:
            os.close(folder)

    def cipher(self, keys: Sequence[str]) -> MultiFernet:
        """Return what encrypts with the first key and decrypts with any. Raises SecretsUnreadable for what is none."""
        from cryptography.fernet import Fernet, MultiFernet

        try:
            return MultiFernet([Fernet(key) for key in keys])
        except ValueError as exc:
            raise SecretsUnreadable(
                f"{self.where} holds something that is not a key.",
                hint="A key is 32 random bytes in URL-safe base64, as `poolform block rotate-key` writes them.",
            ) from exc

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        home = self._settings.home
        if self._given or (home.exists() and not os.access(home, os.W_OK)):
            yield  # there is no file of ours to replace, or no way to
            return
        with (self._settings.folder("locks") / "keys.lock").open("a") as file:
            fcntl.flock(file, how)
            yield


def new_key() -> str:
    """Return a new key."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()
