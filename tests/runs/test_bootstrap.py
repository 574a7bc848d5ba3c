"""The bootstrap's size and form; what it does is tested with the runtime's own tests."""

from __future__ import annotations

import ast
import base64
import json
import re
import shlex
import zlib

import pytest

from poolform.core.runs.bootstrap import FETCHED, FETCHING_SIZE_LIMIT, SIZE_LIMIT, bootstrap_command
from poolform.core.runs.minify import minify


def unpacked(command):
    payload = re.search(r'b85decode\("(.*?)"', command[2])[1]
    return ast.literal_eval(zlib.decompress(base64.b85decode(payload.replace(",", "$"))).decode())


def test_the_bootstrap_leaves_room_for_the_rest_of_an_ecs_override():
    command = bootstrap_command()
    assert len(shlex.join(command)) <= SIZE_LIMIT
    assert len(json.dumps(command)) <= SIZE_LIMIT


@pytest.mark.parametrize("source_type", FETCHED)
def test_what_fetches_code_leaves_room_too(source_type):
    command = bootstrap_command(source_type)
    assert SIZE_LIMIT < FETCHING_SIZE_LIMIT
    assert len(shlex.join(command)) <= FETCHING_SIZE_LIMIT
    assert len(json.dumps(command)) <= FETCHING_SIZE_LIMIT
    modules = unpacked(command)
    assert [name for name, _ in modules][2] == f"poolform.runtime.fetch_{source_type}"
    for _, source in modules:
        ast.parse(source, feature_version=(3, 8))


def test_the_bootstrap_has_nothing_that_kubernetes_or_a_template_would_expand():
    program = bootstrap_command()[2]
    assert "$" not in program
    assert "\\" not in program
    assert program.isascii()


def test_the_bootstraps_source_is_what_python_3_8_understands():
    modules = unpacked(bootstrap_command())
    assert [name for name, _ in modules] == ["poolform", "poolform.runtime", "poolform.runtime.job"]
    for _, source in modules:
        ast.parse(source, feature_version=(3, 8))


def test_the_bootstrap_is_the_same_every_time():
    bootstrap_command.cache_clear()
    first = bootstrap_command()
    bootstrap_command.cache_clear()
    assert bootstrap_command() == first


def test_minified_source_is_old_python_and_does_the_same():
    source = '''
"""Docstring."""
from __future__ import annotations
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
from package.sibling import other
LIMIT: int = 3
"""What it is."""
class Empty(Exception):
    """Nothing else."""
def public(long_name: int, *rest: Any) -> list[int]:
    """Promise."""
    total: int = long_name
    def inner(step):
        return [total + step + one for one in rest]
    try:
        raise Empty
    except Empty as problem:
        return inner(LIMIT) + [str(problem)]
'''
    small = minify([source, "def other(): return public(1, 2)"], package="package", keep=("public", "other"))
    ast.parse(small, feature_version=(3, 8))
    for gone in ("Docstring", "Promise", "Any", "long_name", "total", "sibling", "LIMIT", "TYPE_CHECKING"):
        assert gone not in small
    scope: dict = {}
    exec(small, scope)
    assert scope["other"]() == [6, ""]


def test_modules_that_define_the_same_name_cannot_be_minified_together():
    with pytest.raises(ValueError, match="defined by two modules: same"):
        minify(["def same(): pass", "same = 1"], package="package", keep=())
