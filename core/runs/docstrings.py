"""What a docstring says about a function and its parameters, in any of the three habits of the field."""

from __future__ import annotations

import inspect
import re

_GOOGLE = re.compile(r"^(Args|Arguments|Parameters):\s*$")
_GOOGLE_ITEM = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_NUMPY_ITEM = re.compile(r"^\*{0,2}(\w+)\s*(?::.*)?$")
_SPHINX_ITEM = re.compile(r"^:param\s+(?:[\w\[\], .|]+\s+)?\*{0,2}(\w+):\s*(.*)$")


def summary(docstring: str | None) -> str | None:
    """Return the first paragraph, as one line."""
    text = inspect.cleandoc(docstring or "").partition("\n\n")[0]
    return " ".join(text.split()) or None


def parameters(docstring: str | None) -> dict[str, str]:
    """Return parameter → description, as one line each, of a Google, NumPy or Sphinx docstring."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    found = _sphinx(lines)
    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        if _GOOGLE.match(line):
            found |= _items(lines[index + 1 :], _GOOGLE_ITEM)
        elif line == "Parameters" and set(following) == {"-"}:
            found |= _items(lines[index + 2 :], _NUMPY_ITEM)
    return {name: text for name, text in found.items() if text}


def _items(lines: list[str], item: re.Pattern[str]) -> dict[str, str]:
    """Read items until the text goes back to the left; deeper lines belong to the item above them."""
    numpy = item is _NUMPY_ITEM
    found: dict[str, str] = {}
    base, name = (0 if numpy else None), ""
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        if base is None:
            base = indent
        following = lines[index + 1] if index + 1 < len(lines) else ""
        if indent < base or (not numpy and indent == 0) or (numpy and set(following.strip()) == {"-"}):
            break
        if indent == base:
            match = item.match(line.strip())
            name = match[1] if match else ""
            found[name] = match[2] if match and not numpy else ""
        else:
            found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    found.pop("", None)
    return found


def _sphinx(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        match = _SPHINX_ITEM.match(line)
        if match:
            name = match[1]
            found[name] = match[2]
        elif name and line.startswith((" ", "\t")):
            found[name] = f"{found[name]} {line.strip()}".strip()
        else:
            name = ""
    return found
