"""A folder of this machine, put into a bucket for jobs that fetch it from there."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

from poolform.core.errors import PoolformError, UsageError
from poolform.core.runs.packing import pack
from poolform.core.runs.sources import RemoteStorage
from poolform.runtime.fetch_fsspec import PACKAGES, said

if TYPE_CHECKING:
    from pathlib import Path

    from poolform.core.runs.supply import Suppliers


def upload(folder: Path, url: str, suppliers: Suppliers, *, credentials: str | None = None) -> RemoteStorage:
    """Pack a folder, put it below `url`, and return where it is. Equal code is put there once.

    Older code stays for the deployments and runs that use it. Raises UsageError where no library for such a URL is
    here, PoolformError where the bucket does not take it.
    """
    where = RemoteStorage(url, credentials)  # says what is wrong with the URL
    supply = suppliers.supply(where.to_json())
    with tempfile.TemporaryFile() as plain, tempfile.NamedTemporaryFile(suffix=".tar.gz") as packed:
        pack(folder, plain)
        plain.seek(0)
        digest = hashlib.file_digest(plain, "sha256").hexdigest()
        plain.seek(0)
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as out:
            shutil.copyfileobj(plain, out)
        packed.flush()
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-.") or "code"
        target = f"{url.rstrip('/')}/{name}-{digest[:16]}.tar.gz"
        _put(packed.name, target, dict(supply.secret))
    return RemoteStorage(target, credentials)


def _put(file: str, target: str, secret: dict[str, Any]) -> None:
    package = PACKAGES.get(target.split(":", 1)[0], "fsspec")
    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(target, **secret)
        if not files.exists(path):
            files.put(file, path)
    except ImportError as exc:
        raise UsageError(
            f"Code cannot be put at {target}: there is no {package} here.", hint=f"Install it: pip install {package}"
        ) from exc
    except Exception as exc:  # noqa: BLE001 - every file system has errors of its own
        text = said(exc, secret)
        raise PoolformError(
            f"The code cannot be put at {target}: {type(exc).__name__}: {text}",
            hint="Check that the bucket is there, and that you may write to it.",
        ) from None
