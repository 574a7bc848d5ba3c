"""Blocks: named, typed documents, encrypted at rest with Fernet keys that never enter the database (keys.py)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from poolform.core.errors import InvalidValues, NotFound, SecretsUnreadable, in_words, nearest
from poolform.core.keys import FILE, VARIABLE, Keys, new_key
from poolform.core.store import blocks as rows
from poolform.core.store import leases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.fernet import MultiFernet
    from pydantic import ValidationError

    from poolform.core.pools.contract import Block
    from poolform.core.settings import Settings
    from poolform.core.store.database import Store

    B = TypeVar("B", bound=Block)


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
        self._keys = Keys(settings, environ)

    def save(self, document: Document) -> None:
        """Store a block, replacing one of the same type and name."""
        with self._keys.held() as keys:  # until it is stored: else the key could be rotated away meanwhile
            token = self._keys.cipher(keys).encrypt(json.dumps(dict(document.data)).encode()).decode()
            with self._store.write() as tx:
                rows.save(tx, type=document.type, name=document.name, data=token, key_id=document.key_id)

    def load(self, block_type: str, name: str) -> Document:
        """Return a block, decrypted. Raises NotFound; SecretsUnreadable when none of the keys opens it."""
        with self._store.read() as tx:
            row = rows.get(tx, block_type, name)
        try:
            return self._opened(row)
        except SecretsUnreadable:
            with self._store.read() as tx:
                again = rows.get(tx, block_type, name)
            if again == row:
                raise
            return self._opened(again)  # its key was rotated between reading the block and reading the keys

    def delete(self, block_type: str, name: str) -> bool:
        """Delete a block and say whether there was one."""
        with self._store.write() as tx:
            return rows.delete(tx, block_type, name)

    def seal(self, text: str) -> str:
        """Encrypt text that is to be stored elsewhere than in a block, such as a job with secrets."""
        return self._keys.cipher(self._keys.made()).encrypt(text.encode()).decode()

    def unseal(self, token: str) -> str:
        """Return what `seal` was given. Raises SecretsUnreadable when none of the keys opens it."""
        from cryptography.fernet import InvalidToken

        try:
            return self._keys.cipher(self._keys.made()).decrypt(token.encode()).decode()
        except InvalidToken as exc:
            raise SecretsUnreadable("What was sealed with a key that is not here cannot be opened.") from exc

    def rotate_key(self) -> int:
        """Encrypt every block with a new key and forget the old ones; return how many blocks there are.

        Safe to interrupt: until the last block is done, both keys are kept. They are also kept where jobs with secrets
        wait to be launched, until the next rotation. Keys from the environment are the caller's to change: the blocks
        are then encrypted with the first of them.
        """
        with self._keys.alone():
            keys = self._keys.read()
            if self._keys.replaceable:
                keys = [new_key(), *keys]
                self._keys.replace(keys)
            cipher = self._keys.cipher(keys)
            with self._store.write() as tx:
                every = rows.list_all(tx)
                for row in every:
                    self._opened(row, cipher)  # names the block that cannot be read
                    rows.replace_data(tx, row, cipher.rotate(row.data.encode()).decode())
                needed = leases.sealed_requests(tx)
            if self._keys.replaceable and not needed:
                self._keys.replace(keys[:1])
        return len(every)

    def _opened(self, row: rows.Block, cipher: MultiFernet | None = None) -> Document:
        from cryptography.fernet import InvalidToken

        keys = self._keys.read() if cipher is None else []
        if cipher is None and not keys:
            raise SecretsUnreadable(
                f"The block {row.type}/{row.name} is encrypted, and there is no key here.",
                hint=f"Set {VARIABLE}, or copy {FILE} from where it was made into {self._settings.home}.",
            )
        try:
            data = (cipher or self._keys.cipher(keys)).decrypt(row.data.encode())
        except InvalidToken as exc:
            raise SecretsUnreadable(
                f"The block {row.type}/{row.name} was encrypted with a key that is not here.",
                hint=f"Add that key to {VARIABLE} or to {self._settings.home / FILE}.",
            ) from exc
        return Document(row.type, row.name, json.loads(data), row.key_id)


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
