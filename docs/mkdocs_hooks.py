"""What the site does beyond Markdown: files that pages link to outside of docs/ come along, and pool types are listed.

A hook of MkDocs (https://www.mkdocs.org/user-guide/configuration/#hooks). The links stay as GitHub wants them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"(\[[^\]]*\]\()((?:\.\./)+[^)#\s]+)")
_BROUGHT = "repository"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages of pool types, whichever there are."""
    pages = sorted(path.name for path in Path(config.docs_dir, "pool-types").glob("*.md"))
    if pages and config.nav:
        config.nav.insert(2, {"Pool types": [f"pool-types/{name}" for name in pages]})
    return config


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave docs/ to copies of what they mean."""

    def brought(match: re.Match[str]) -> str:
        target = (Path(page.file.abs_src_path or "").parent / match[2]).resolve()
        if target.is_relative_to(config.docs_dir) or not target.is_file():
            return match[0]
        path = f"{_BROUGHT}/{target.relative_to(ROOT).as_posix()}"
        if path.endswith(".md"):
            path = f"{path.removesuffix('.md')}.txt"  # as it is: Markdown of elsewhere has links that mean nothing here
        if files.get_file_from_path(path) is None:
            files.append(File.generated(config, path, content=target.read_text(encoding="utf-8")))
        return match[1] + posixpath.relpath(path, posixpath.dirname(page.file.src_uri) or ".")

    return _LINK.sub(brought, markdown)
