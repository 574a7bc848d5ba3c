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
        assert self.part(name) == text, "run the tests with POOLFORM_WRITE_DOCS=1, and look at what changed"

    def part(self, name):
        """What the page says between the marks of this name."""
        mark = re.escape(f"<!-- generated: {name} -->\n")
        return re.search(f"{mark}(.*?)<!-- end -->", self.path.read_text(), re.DOTALL)[1]

    def compare_tried(self, name, head, rows):
        """Hold the part of this name to a table in which a cell is None where nothing was tried this time.

        A whole table is compared, or written, as any other part; of another, what was tried must be what the page says.
        """
        if all(None not in row for row in rows):
            self.compare(name, table(head, *rows))
            return
        shown = [line.strip("| ").split(" | ") for line in self.part(name).splitlines()]
        assert [shown[0], [line[0] for line in shown[2:]]] == [list(head), [row[0] for row in rows]]
        told = [
            [cell if cell is not None else there for cell, there in zip(row, line, strict=True)]
            for row, line in zip(rows, shown[2:], strict=True)
        ]
        assert told == shown[2:], "not as the page says: run the tests with --everything and POOLFORM_WRITE_DOCS=1"


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
