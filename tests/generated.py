"""The generated parts of pages are what the code says. POOLFORM_WRITE_DOCS=1 writes them anew.

PAGE = Page("pool-types/lab.md")
PAGE.compare("variables", fields(LabVariables))    # between <!-- generated: variables --> and <!-- end -->
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

WRITE = "POOLFORM_WRITE_DOCS" in os.environ  # before a test's own home takes every POOLFORM_ variable away


class Page:
    """A page below docs/."""

    def __init__(self, name):
        self.path = Path(__file__).parents[1] / "docs" / name

    def compare(self, name, text):
        """Hold the part of this name to `text`, or write it."""
        mark = f"<!-- generated: {name} -->\n"
        if WRITE:
            page = self.path.read_text()
            start = page.index(mark) + len(mark)
            self.path.write_text(page[:start] + text + page[page.index("<!-- end -->", start) :])
        part = re.search(f"{re.escape(mark)}(.*?)<!-- end -->", self.path.read_text(), re.DOTALL)[1]
        assert part == text, "run the tests with POOLFORM_WRITE_DOCS=1, and look at what changed"


def table(*rows):
    """Return a table of these rows, the first of which is its head."""
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join((head, "|" + "---|" * len(rows[0]), *rest)) + "\n"


def fields(model):
    """Return a table of a model's fields."""
    schema = model.model_json_schema()
    rows = [("name", "default", "what it is")]
    for name, field in schema["properties"].items():
        default = field.get("default")
        shown = (
            "required"
            if name in schema.get("required", ())
            else ""
            if default in (None, [], {})
            else f"`{default if isinstance(default, str) else json.dumps(default)}`"
        )
        rows.append((f"`{name}`", shown, field["description"].replace("|", "\\|")))
    return table(*rows)
