"""Fetch code from a bucket, or from wherever fsspec reaches. Only jobs that need this import it."""

from __future__ import annotations

import os
import shutil
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}
"""What a job needs besides fsspec for each kind of URL."""

SECRETS = ("private_key", "client_secret", "refresh_token")
"""What is secret in a document that is given as a token."""


def fetch(source: dict[str, Any], secret: dict[str, str], folder: str) -> str:
    """Copy what is at the source's URL into `folder`, an empty one, and return it: a folder, an archive or one file.

    `secret` are further options of the file system. Raises LookupError with a sentence.
    """
    url = source["url"]
    package = PACKAGES.get(url.split(":", 1)[0], "fsspec")
    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(url, **{**(source.get("options") or {}), **secret})
        archive = path.endswith((".tar.gz", ".tgz", ".zip"))
        if archive or files.isfile(path):
            file = os.path.join(folder, os.path.basename(path))
            files.get(path, file)
            if archive:
                unpack(file, folder)
                os.unlink(file)
        else:
            files.get(path.rstrip("/") + "/", folder + "/", recursive=True)
    except ImportError:
        raise LookupError(
            f"the code is at {url}, and there is no {package} here to read it with: install {package} in the image."
        ) from None
    except FileNotFoundError as error:
        text = said(error, secret)
        raise LookupError(f"there is no {url}" + (f": {text}" if " " in text else ".")) from None
    except Exception as error:  # noqa: BLE001  # every file system has errors of its own
        raise LookupError(f"{url} cannot be read: {type(error).__name__}: {said(error, secret)}") from None
    if not os.listdir(folder):
        raise LookupError(f"there is nothing at {url}.")
    return folder


def unpack(file: str, folder: str) -> None:
    """Unpack an archive; where Python can, without touching anything outside `folder`."""
    if file.endswith(".zip"):
        shutil.unpack_archive(file, folder, "zip")
        return
    with tarfile.open(file) as archive:
        options: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **options)  # noqa: S202  # it is code that is about to be run


def said(error: Exception, secret: dict[str, Any]) -> str:
    """Return what an error says, on one line, without the secrets."""
    text = " ".join(str(error).split()) or type(error).__name__
    for value in secret.values():
        # Google's is a document with a key in it.
        parts = [value.get(name) for name in SECRETS] if isinstance(value, dict) else [value]
        for words in filter(None, (" ".join(str(part or "").split()) for part in parts)):
            text = text.replace(words, "***")
    return text.rstrip(".") + "."
