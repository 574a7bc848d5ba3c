"""What runs leave out of a matrix of trouble, and that pages are held to the rest."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from generated import Page, table
from matrix import Matrix

ROOT = Path(__file__).parent.parent
STEPS, WAYS = ("make", "ask", "read", "stop", "remove", "go"), ("before", "after", "lost before", "lost after")


def exists(step, way):
    return step not in ("ask", "read") or way.endswith("before")


MATRICES = [Matrix(STEPS, WAYS), Matrix(STEPS, WAYS, exists), Matrix(STEPS, WAYS[:2]), Matrix(STEPS[:4], WAYS)]


@pytest.mark.parametrize("matrix", MATRICES)
def test_the_diagonal_has_every_row_once_and_every_way(matrix):
    struck = {way: matrix.struck(way, everything=False) for way in matrix.ways}
    assert sorted(row for rows in struck.values() for row in rows) == sorted(matrix.rows)
    assert all(struck.values())
    assert all(matrix.exists(row, way) for way, rows in struck.items() for row in rows)


@pytest.mark.parametrize("matrix", MATRICES)
def test_every_cell_is_a_parameter_and_those_beside_the_diagonal_are_exhaustive(matrix):
    assert len(matrix.cells()) == sum(len(matrix.struck(way, everything=True)) for way in matrix.ways)
    assert {cell.values for cell in matrix.cells() if not cell.marks} == set(matrix.diagonal.items())


@pytest.mark.parametrize("ways", [None, WAYS[:2]])
def test_rounds_are_every_cell_once_and_the_first_is_of_the_diagonal(ways):
    matrix = MATRICES[0]
    first, *others = matrix.rounds(STEPS, ways)
    met = Counter(cell for one in (first, *others) for turn in one.values for cell in turn.items())
    assert met == Counter({(row, way): 1 for row in STEPS for way in ways or WAYS})
    assert not first.marks
    assert all(one.marks for one in others)
    (turn,) = first.values
    assert {row: way for row, way in matrix.diagonal.items() if way in (ways or WAYS)}.items() <= turn.items()
    assert set(turn.values()) == set(ways or WAYS)


@pytest.mark.parametrize(("options", "collected"), [((), 15), (("--everything",), 30)])
def test_what_is_exhaustive_is_run_only_when_everything_is_asked_for(options, collected):
    """Of the core's matrices, which have fifteen steps in two ways."""
    asked = ("--collect-only", "-q", "tests/pools/test_crashes.py", "-k", "test_dying", *options)
    done = subprocess.run(
        (sys.executable, "-m", "pytest", *asked), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.count("::test_dying") == collected, done.stdout


@pytest.fixture
def page(tmp_path):
    page = Page("lab.md")
    page.path = tmp_path / "lab.md"
    rows = table(("step", "before", "after"), ("make", "mended", "lost"), ("ask", "mended", "mended"))
    page.path.write_text(f"<!-- generated: crashes -->\n{rows}<!-- end -->\n")
    return page


def test_a_page_is_held_to_what_was_tried_and_to_nothing_else(page):
    matrix, head = Matrix(("make", "ask"), ("before", "after")), ("step", "before", "after")
    seen = {("make", "before"): "mended", ("ask", "after"): "mended"}
    page.compare_tried("crashes", head, matrix.told(seen, everything=False))
    for trouble, everything in (
        ({("make", "before"): "lost"}, False),
        ({("make", "after"): "mended"}, False),  # tried, beside the diagonal
        ({}, True),  # and the rest was not
    ):
        with pytest.raises(AssertionError):
            page.compare_tried("crashes", head, matrix.told({**seen, **trouble}, everything=everything))
    del seen["ask", "after"]
    with pytest.raises(AssertionError):  # it should have been tried
        page.compare_tried("crashes", head, matrix.told(seen, everything=False))
    with pytest.raises(AssertionError):  # a row that the page lacks
        page.compare_tried("crashes", head, Matrix(("make", "more"), matrix.ways).told({}, everything=False))
