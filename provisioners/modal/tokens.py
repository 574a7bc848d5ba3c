"""Where Modal's token is: in the environment or in Modal's own file, and afterwards in the pool's block.

https://modal.com/docs/reference/modal.config
"""

from __future__ import annotations

import os
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import SecretStr

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Block

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolform.core.pools.contract import Credential

_HINT = "Log in (modal setup), or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET."


class ModalCredentials(Block):
    """A token of a Modal workspace."""

    block_type: ClassVar[str] = "modal-credentials"
    title: ClassVar[str] = "Modal credentials"
    token_id: str
    token_secret: SecretStr


@dataclass(frozen=True)
class Token:
    """A token: its public id, and what must not be told."""

    id: str
    secret: str = field(repr=False)


def found(environ: Mapping[str, str] | None = None) -> Token:
    """Return the token that Modal's own tools would use here. Raises PoolformError where there is none."""
    env = os.environ if environ is None else environ
    profile = _profile(env)
    name = env.get("MODAL_TOKEN_ID") or profile.get("token_id")
    secret = env.get("MODAL_TOKEN_SECRET") or profile.get("token_secret")
    if not isinstance(name, str) or not isinstance(secret, str):
        raise PoolformError("There is no Modal token here.", hint=_HINT)
    return Token(name, secret)


def of(credential: Credential | None) -> Token:
    """Return a pool's token: the one in its block, else the dispatcher's own. Raises PoolformError."""
    if credential is None:
        return found()
    return Token(credential.data["token_id"], credential.data["token_secret"])


@contextmanager
def sentences(doing: str) -> Iterator[None]:
    """Turn what Modal's SDK raises while `doing` something into a PoolformError that a person can act on."""
    modal = load()
    try:
        yield
    except modal.exception.AuthError as exc:
        raise PoolformError(f"{doing} failed: Modal does not accept the token: {exc}", hint=_HINT) from exc
    except modal.exception.Error as exc:
        raise PoolformError(f"{doing} failed: {exc}", hint="Check the network, and https://status.modal.com.") from exc


def load() -> Any:
    """Return Modal's SDK. Raises PoolformError where it is not installed."""
    try:
        import modal
    except ModuleNotFoundError as exc:
        raise PoolformError(
            "Modal pools need Modal's SDK, which is not installed.", hint="Install it: pip install 'poolform[modal]'"
        ) from exc
    return modal


def _profile(env: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the profile of Modal's file that is named, else the active one, else the one called default."""
    path = Path(env.get("MODAL_CONFIG_PATH") or "~/.modal.toml").expanduser()
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise PoolformError(f"Modal's file {path} cannot be read: {exc}.", hint=_HINT) from exc
    tables = {name: table for name, table in profiles.items() if isinstance(table, dict)}
    active = next((name for name, table in tables.items() if table.get("active") is True), "default")
    chosen: Mapping[str, Any] = tables.get(env.get("MODAL_PROFILE") or active, {})
    return chosen
