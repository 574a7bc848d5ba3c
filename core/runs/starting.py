"""A first project file for a folder, with the flows that are found in it."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_START = """\
# What this project runs, and where. `poolform apply` shows what it would change, and asks.
name: {name}

work_pools:
  - name: {pool}
    type: {type}

"""
_EXAMPLE = """\
deployments: []
  # - name: nightly
  #   entrypoint: flows.py:etl
  #   work_pool: {pool}
  #   parameters: {{}}
  #   schedules:
  #     - cron: 0 1 * * *
  #       timezone: Europe/Berlin
"""


def starting_point(folder: Path, *, pool: str, pool_type: str = "process") -> str:
    """Return a project file for a folder and a pool of this type; each flow that is found gets a deployment."""
    found = list(_flows(folder))
    entries = [
        f"  - name: default\n    entrypoint: {path}:{name}\n    work_pool: {pool}\n"
        "    # schedules:\n    #   - cron: 0 1 * * *\n    #     timezone: Europe/Berlin\n"
        for path, name in found
    ]
    return _START.format(name=json.dumps(folder.absolute().name or "project"), pool=pool, type=pool_type) + (
        "deployments:\n" + "\n".join(entries) if entries else _EXAMPLE.format(pool=pool)
    )


def _flows(folder: Path) -> Iterator[tuple[str, str]]:
    """Return files and names of functions that are decorated as flows, the first few."""
    for file in sorted(folder.glob("*.py"))[:50]:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(map(_is_flow, node.decorator_list)):
                yield file.name, node.name


def _is_flow(decorator: Any) -> bool:
    target = getattr(decorator, "func", decorator)
    return "flow" in (getattr(target, "id", None), getattr(target, "attr", None))
