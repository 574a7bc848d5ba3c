"""A matrix of trouble, of what is struck by the ways in which it is: whole with --everything, else its diagonal.

The diagonal has every row once and every way at least once, so that none goes untried in any run. The cells beside it
bear the marker `exhaustive`, which tests/conftest.py leaves out unless pytest is called with --everything.

MATRIX = Matrix(STEPS, WAYS)

@pytest.mark.parametrize(("step", "way"), MATRIX.cells())
def test_it_goes_on(step, way): ...
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


@dataclass(frozen=True)
class Matrix:
    """Rows by ways. `exists` says which cells there are, where not all make sense."""

    rows: Collection[str]
    ways: Collection[str]
    exists: Callable[[str, str], bool] = lambda row, way: True

    @cached_property
    def diagonal(self) -> dict[str, str]:
        """The way of each row: that which was used least by the rows above it, the first of equals."""
        used = Counter(dict.fromkeys(self.ways, 0))
        chosen = {}
        for row in self.rows:
            chosen[row] = min((way for way in self.ways if self.exists(row, way)), key=used.__getitem__)
            used[chosen[row]] += 1
        return chosen

    def struck(self, way: str, *, everything: bool) -> list[str]:
        """The rows that this way is tried on."""
        return [row for row in self.rows if self.exists(row, way) and (everything or self.diagonal[row] == way)]

    def cells(self, rows: Iterable[str] | None = None) -> list[object]:
        """A test's parameters (row, way), for these rows, all unless some are given."""
        return [
            pytest.param(row, way, marks=() if self.diagonal[row] == way else pytest.mark.exhaustive)
            for row in (self.rows if rows is None else rows)
            for way in self.ways
            if self.exists(row, way)
        ]

    def rounds(self, rows: Collection[str], ways: Collection[str] | None = None) -> list[object]:
        """A test's parameter {row: way}, where it strikes all of these rows in turn: as many as there are ways.

        Each round has another way for each row; together they are every cell, and the first has the diagonal's. Of some
        of the ways only, when these are given.
        """
        order = list(self.ways if ways is None else ways)
        first = {row: self.diagonal[row] for row in rows if self.diagonal[row] in order}
        used = Counter({**dict.fromkeys(order, 0), **Counter(first.values())})
        for row in (row for row in rows if row not in first):
            first[row] = min(order, key=used.__getitem__)
            used[first[row]] += 1
        turns = [
            {row: order[(order.index(first[row]) + turn) % len(order)] for row in rows} for turn in range(len(order))
        ]
        return [
            pytest.param(turn, id=f"round {number}", marks=pytest.mark.exhaustive if number else ())
            for number, turn in enumerate(turns)
        ]

    def told(self, seen: dict[tuple[str, str], str], *, everything: bool) -> list[tuple[str | None, ...]]:
        """What was seen, as rows of a table: None for what was not tried, on purpose."""
        return [(row, *(self._told(seen, row, way, everything=everything) for way in self.ways)) for row in self.rows]

    def _told(self, seen: dict[tuple[str, str], str], row: str, way: str, *, everything: bool) -> str | None:
        if not self.exists(row, way):
            return "no other than before"
        due = everything or self.diagonal[row] == way
        return seen.get((row, way), "not seen" if due else None)
