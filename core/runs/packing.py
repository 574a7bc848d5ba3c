"""A folder of code as one archive: the same bytes for the same files, without what nobody wants to send anywhere."""

from __future__ import annotations

import tarfile
from io import BytesIO
from typing import IO, TYPE_CHECKING

from poolform.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LEFT_OUT = frozenset(
    {
        ".git", ".hg", ".svn", ".venv", "venv", ".env", ".envrc", ".netrc", "__pycache__", ".mypy_cache",
        ".pytest_cache", ".ruff_cache", ".tox", ".nox", ".ipynb_checkpoints", "node_modules", ".terraform",
        ".DS_Store", ".idea", ".vscode", ".aws", ".azure", ".docker", ".git-credentials", ".gnupg", ".kube",
        ".poolform", ".pypirc", ".ssh",
    }
)  # fmt: skip
"""Names of files and folders that stay: history, environments, caches, secrets; `.env.…` too, but for examples."""
_EXAMPLES = (".env.dist", ".env.example", ".env.sample", ".env.template")
LIMIT = 2 * 1024**3


def pack(folder: Path, out: IO[bytes], extra: Mapping[str, str] | None = None) -> None:
    """Write a folder as a tar archive, texts of `extra` first. Raises UsageError for more than 2 GiB.

    Owners and times are left out, so that equal code makes equal archives.
    """
    # docker takes its input for an archive when the first 512 bytes look like one: no extended header comes first.
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, text in (extra or {}).items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, BytesIO(text.encode()))
        for entry in sorted(folder.iterdir()):
            if entry.name not in (extra or {}):
                archive.add(entry, entry.name, filter=_wanted)
            if out.tell() > LIMIT:
                raise UsageError(
                    f"The folder {folder} takes more than {LIMIT // 1024**3} GiB, too much to send along with a flow.",
                    hint="Deploy from the folder of the code; for an image, say in .dockerignore what to leave out.",
                )


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = member.name.rpartition("/")[2]
    if name in LEFT_OUT or name.endswith(".pyc") or (name.startswith(".env.") and name not in _EXAMPLES):
        return None
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member
