"""Blocks: named, typed documents, encrypted at rest with Fernet keys that never enter the database.

Keys come from POOLFORM_SECRET_KEYS (comma-separated, the first one encrypts) or from the file `secret.keys` in
Poolform's home (0600, one a line, made on first use).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from poolform.core.errors import InvalidValues, NotFound, SecretsUnreadable, in_words, nearest
from poolform.core.store import blocks as rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.fernet import MultiFernet
    from pydantic import ValidationError

    from poolform.core.pools.contract import Block
    from poolform.core.settings import Settings
    from poolform.core.store.database import Store

    B = TypeVar("B", bound=Block)

KEYS_VARIABLE = "POOLFORM_SECRET_KEYS"
_KEYS_FILE = "secret.keys"


@dataclass(frozen=True)
class Document:
    """A block, decrypted. `key_id` is the public name of the cloud key that it holds, None where it holds none."""

    type: str
    name: str
    data: Mapping[str, Any] = field(repr=False)
    key_id: str | None = None


class Blocks:
    """The blocks of one database, read and written with the keys of this environment."""

    def __init__(self, store: Store[Any], settings: Settings, environ: Mapping[str, str]) -> None:
        self._store = store
        self._settings = settings
        self._from_environment = environ.get(KEYS_VARIABLE, "")

    def save(self, document: Document) -> None:
        """Store a block, replacing one of the same type and name."""
        token = self._fernet(self._keys(make=True)).encrypt(json.dumps(dict(document.data)).encode()).decode()
        with self._store.write() as tx:
            rows.save(tx, type=document.type, name=document.name, data=token, key_id=document.key_id)

    def load(self, block_type: str, name: str) -> Document:
        """Return a block, decrypted. Raises NotFound; SecretsUnreadable when none of the keys opens it."""
        with self._store.read() as tx:
            row = rows.get(tx, block_type, name)
        return self._opened(row)

    def delete(self, block_type: str, name: str) -> bool:
        """Delete a block and say whether there was one."""
        with self._store.write() as tx:
            return rows.delete(tx, block_type, name)

    def seal(self, text: str) -> str:
        """Encrypt text that is to be stored elsewhere than in a block, such as a job with secrets."""
        return self._fernet(self._keys(make=True)).encrypt(text.encode()).decode()

    def unseal(self, token: str) -> str:
        """Return what `seal` was given. Raises SecretsUnreadable when none of the keys opens it."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet(self._keys(make=True)).decrypt(token.encode()).decode()
        except InvalidToken as exc:
            raise SecretsUnreadable("What was sealed with a key that is not here cannot be opened.") from exc

    def rotate_key(self) -> int:
        """Encrypt every block with a new key and forget the old ones; return how many blocks there are.

        Safe to interrupt: until the last block is done, both keys are kept. Keys from the environment are the
        caller's to change: the blocks are then encrypted with the first of them.
        """
        from cryptography.fernet import Fernet

        keys = self._keys(make=True)
        if not self._from_environment:
            keys = [Fernet.generate_key().decode(), *keys]
            self._write_keys(keys)
        fernet = self._fernet(keys)
        with self._store.write() as tx:
            every = rows.list_all(tx)
            for row in every:
                self._opened(row, fernet)  # names the block that cannot be read
                rows.replace_data(tx, row, fernet.rotate(row.data.encode()).decode())
        if not self._from_environment:
            self._write_keys(keys[:1])
        return len(every)

    def _opened(self, row: rows.Block, fernet: MultiFernet | None = None) -> Document:
        from cryptography.fernet import InvalidToken

        keys = self._keys(make=False) if fernet is None else []
        if fernet is None and not keys:
            raise SecretsUnreadable(
                f"The block {row.type}/{row.name} is encrypted, and there is no key here.",
                hint=f"Set {KEYS_VARIABLE}, or copy {_KEYS_FILE} from where it was made into {self._settings.home}.",
            )
        try:
            data = (fernet or self._fernet(keys)).decrypt(row.data.encode())
        except InvalidToken as exc:
            raise SecretsUnreadable(
                f"The block {row.type}/{row.name} was encrypted with a key that is not here.",
                hint=f"Add that key to {KEYS_VARIABLE} or to {self._settings.home / _KEYS_FILE}.",
            ) from exc
        return Document(row.type, row.name, json.loads(data), row.key_id)

    def _keys(self, *, make: bool) -> list[str]:
        if self._from_environment:
            return [key.strip() for key in self._from_environment.split(",") if key.strip()]
        path = self._settings.home / _KEYS_FILE
        try:
            return path.read_text(encoding="ascii").split()
        except FileNotFoundError:
            if not make:
                return []
        from cryptography.fernet import Fernet

        self._settings.folder()
        fresh = path.with_suffix(f".{os.getpid()}")
        self._put(fresh, [Fernet.generate_key().decode()])
        try:
            # A link, not a rename: of two processes that start at once, one makes the key and both use it.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return path.read_text(encoding="ascii").split()

    def _write_keys(self, keys: list[str]) -> None:
        path = self._settings.home / _KEYS_FILE
        fresh = path.with_suffix(".new")
        self._put(fresh, keys)
        fresh.replace(path)

    @staticmethod
    def _put(path: Path, keys: list[str]) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write("\n".join(keys) + "\n")
            file.flush()
            os.fsync(file.fileno())  # blocks are about to depend on it

    def _fernet(self, keys: list[str]) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet

        try:
            return MultiFernet([Fernet(key) for key in keys])
        except ValueError as exc:
            where = KEYS_VARIABLE if self._from_environment else str(self._settings.home / _KEYS_FILE)
            raise SecretsUnreadable(
                f"{where} holds something that is not a key.",
                hint="A key is 32 random bytes in URL-safe base64, as `poolform block rotate-key` writes them.",
            ) from exc


def load_as(block_type: type[B], name: str) -> B:
    """Return a stored block as an instance of its type; what it raises is said of `Block.load`, which this is."""
    from pydantic import ValidationError

    from poolform.core.settings import Settings
    from poolform.core.store.database import open_store

    settings = Settings.from_environment(os.environ)
    with open_store(settings) as store:
        document = Blocks(store, settings, os.environ).load(block_type.block_type, name)
    try:
        return block_type.model_validate(dict(document.data))
    except ValidationError as exc:
        raise InvalidValues(
            f"The block {document.type}/{name} does not fit its type:", _problems(exc, block_type)
        ) from None


def validated(block_types: Mapping[str, type[Block]], block_type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block's data checked against its type, as plain JSON. Raises NotFound, InvalidValues without values."""
    from pydantic import SecretStr, ValidationError

    model = block_types.get(block_type)
    if model is None:
        raise NotFound(f"There is no block type {block_type!r}.", hint=nearest(block_type, block_types))
    try:
        block = model.model_validate(dict(data))
    except ValidationError as exc:
        raise InvalidValues(f"This is not a {block_type} block:", _problems(exc, model)) from None
    plain = block.model_dump(mode="python")
    return {key: value.get_secret_value() if isinstance(value, SecretStr) else value for key, value in plain.items()}


def _problems(exc: ValidationError, model: type[Block]) -> list[str]:
    """Say what does not fit. Never the input: it may be the secret."""
    return [_problem(error, model) for error in exc.errors(include_input=False)]


def _problem(error: Any, model: type[Block]) -> str:
    path = ".".join(map(str, error["loc"])) or "the block"
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"{path}: there is no such field. {nearest(path, model.model_fields)}"
    return f"{path}: {in_words(error)}."
