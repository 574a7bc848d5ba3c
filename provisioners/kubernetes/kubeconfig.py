"""Kubeconfig files, read without the Kubernetes client: which contexts there are, and which one is current."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEFAULT = "~/.kube/config"


def paths(kubeconfig: str) -> list[Path]:
    """Return the files that a colon-separated list names, of those that exist."""
    named = (Path(part).expanduser() for part in kubeconfig.split(os.pathsep) if part)
    return [path for path in named if path.is_file()]


def offered() -> str:
    """Return where kubectl would look: KUBECONFIG, else the file in the home folder."""
    return os.environ.get("KUBECONFIG") or DEFAULT


def current(files: Sequence[Path]) -> str | None:
    """Return the current context; None where none is. The first file that says so decides, as for kubectl."""
    for document in _documents(files):
        name = document.get("current-context")
        if name:
            return str(name)
    return None


def contexts(files: Sequence[Path]) -> list[str]:
    """Return the names of all contexts, in order."""
    found = [
        str(context["name"])
        for document in _documents(files)
        for context in document.get("contexts") or ()
        if isinstance(context, dict) and "name" in context
    ]
    return list(dict.fromkeys(found))


def _documents(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield each file's content; one that cannot be read has none."""
    import yaml

    for path in files:
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        if isinstance(document, dict):
            yield document
