"""Where pools' workspaces are: one folder a pool, and temporary ones that live as long as their process."""

from __future__ import annotations

import fcntl
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from poolform.core.terraform.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolform.core.settings import Settings


def pool_workspace(settings: Settings, pool_id: str) -> Workspace:
    """Return the workspace of a pool; its folder need not be there."""
    return Workspace(settings.home / "pools" / pool_id)


@contextmanager
def temporary_workspace(settings: Settings, pool_id: str) -> Iterator[Workspace]:
    """Yield a workspace that is gone afterwards."""
    folder = settings.folder("tmp")
    path = folder / f"{pool_id}-{secrets.token_hex(4)}"
    owner, fresh = path.with_suffix(".lock"), path.with_suffix(".new")
    with fresh.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh.rename(owner)  # only now: whoever clears up takes what is not locked for abandoned
        path.mkdir(mode=0o700)
        workspace = Workspace(path)
        try:
            yield workspace
        finally:
            workspace.remove()
            owner.unlink(missing_ok=True)


def clear_abandoned(settings: Settings) -> None:
    """Remove temporary workspaces whose owner's lock is free: it died, and a plan holds values in clear."""
    for owner in settings.folder("tmp").glob("*.lock"):
        try:
            with owner.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Workspace(owner.with_suffix("")).remove()
                owner.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            continue
