"""Draw what `poolform work-pool graph` prints, as SVG, for pages that must not load anything from elsewhere:

poolform work-pool graph --type ecs:push --set region=eu-central-1 | python docs/graph.py >docs/images/graph.svg
"""  # noqa: D400 - the command is the point

from __future__ import annotations

import re
import sys
from collections import defaultdict
from xml.sax.saxutils import escape

BOX, ROW, COLUMN, GAP = 24, 34, 90, 20
LETTER = 6.7
"""Pixels that a letter of the monospaced font takes."""


def read(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the labels of a Mermaid flowchart's nodes, and its arrows."""
    nodes = dict(re.findall(r'^  (n\d+)\["(.+)"\]$', text, re.MULTILINE))
    return nodes, re.findall(r"^  (n\d+) --> (n\d+)$", text, re.MULTILINE)


def columns(nodes: dict[str, str], arrows: list[tuple[str, str]]) -> list[list[str]]:
    """Return the nodes from left to right: each right of all that it needs, near to where that is."""
    needed = defaultdict(list)
    for start, end in arrows:
        needed[end].append(start)
    rank: dict[str, int] = {}

    def place(node: str) -> int:
        if node not in rank:
            rank[node] = 1 + max((place(other) for other in needed[node]), default=-1)
        return rank[node]

    connected = {node for arrow in arrows for node in arrow}
    found: list[list[str]] = [[] for _ in range(max(map(place, nodes)) + 1)]
    row: dict[str, float] = {}
    for number, column in enumerate(found):
        members = [node for node in nodes if rank[node] == number]
        alone = len(nodes)  # below all others: what nothing needs and what needs nothing
        members.sort(
            key=lambda n: sum(row[o] for o in needed[n]) / len(needed[n]) if needed[n] else alone * (n not in connected)
        )
        column.extend(members)
        row |= {node: position - len(members) / 2 for position, node in enumerate(members)}
    return found


def draw(nodes: dict[str, str], arrows: list[tuple[str, str]]) -> str:
    """Return the picture."""
    found = columns(nodes, arrows)
    height = max(map(len, found)) * ROW + GAP
    boxes: dict[str, tuple[float, float, float]] = {}
    left = float(GAP)
    for column in found:
        width = max(len(nodes[node]) for node in column) * LETTER + GAP
        top = (height - len(column) * ROW) / 2
        boxes |= {node: (left, top + position * ROW, width) for position, node in enumerate(column)}
        left += width + COLUMN
    width = left - COLUMN + GAP
    font = 'font-size="11" font-family="ui-monospace, Menlo, Consolas, monospace"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" {font}>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
    ]
    for start, end in arrows:
        x1, y1 = boxes[start][0] + boxes[start][2], boxes[start][1] + BOX / 2
        x2, y2 = boxes[end][0], boxes[end][1] + BOX / 2
        bend = max(30.0, (x2 - x1) / 2)
        path = f"M{x1:.0f} {y1:.0f} C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
        lines.append(f'<path d="{path}" fill="none" stroke="#9aa4b2"/>')
    for node, (x, y, w) in boxes.items():
        fill = "#f4f6f8" if nodes[node].startswith("data.") else "#e8f0fe"
        lines.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{BOX}" rx="4" fill="{fill}"/>')
        label = escape(nodes[node])
        lines.append(f'<text x="{x + GAP / 2:.0f}" y="{y + 16:.0f}" fill="#1f2937">{label}</text>')
    return "\n".join((*lines, "</svg>")) + "\n"


if __name__ == "__main__":
    sys.stdout.write(draw(*read(sys.stdin.read())))
