"""The reference is of this code, and complete; no link of any page leads nowhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import poolform

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"))
    if "CHANGELOG" not in path.name
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


def test_the_reference_is_of_this_code():
    code = "import reference; print(*reference.changed())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "docs", capture_output=True, text=True, check=True)
    assert done.stdout.split() == [], "write it anew: python docs/reference.py (make docs does)"


def test_every_public_name_has_a_section():
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    missing = [name for name in poolform.__all__ if not name.startswith("_") and f"\n### {name}\n" not in page]
    assert missing == []


def anchors(path):
    """Return the anchors of a page's headings, as both GitHub and the site make them."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page):
    text = re.sub(r"`[^`\n]*`", "``", FENCE.sub("", page.read_text(encoding="utf-8")))
    wrong = []
    for target in (match[1] or match[2] for match in LINK.finditer(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(target)
    assert wrong == []


def test_every_page_can_be_reached():
    """From the first page, by links, or in the site's navigation."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    linked = {
        (page.parent / (match[1] or match[2]).partition("#")[0]).resolve()
        for page in PAGES
        for match in LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8")))
    }
    pages = [page for page in PAGES if page.is_relative_to(ROOT / "docs")]
    lost = [p for p in pages if str(p.relative_to(ROOT / "docs")) not in navigation and p.resolve() not in linked]
    assert lost == []
