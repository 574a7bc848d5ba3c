"""Python source made small: the same behaviour, without what a person needs to read it.

For source of our own only. Drops docstrings, annotations, comments, `if TYPE_CHECKING` and blank lines, gives
parameters, local variables and private functions names of a letter or two; so nothing may pass a parameter of these
functions by keyword, or look a local up by name.
"""

from __future__ import annotations

import ast
from collections import Counter
from itertools import chain, product
from string import ascii_letters
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def minify(sources: Iterable[str], *, package: str, keep: Collection[str]) -> str:
    """Return one source that does what the `sources`, modules of `package`, do one after the other.

    Imports between them are dropped. Top-level names in `keep` stay; the others are shortened. Raises ValueError when
    two of the modules define the same name.
    """
    stripped = [_Stripper(package).visit(ast.parse(source)) for source in sources]
    imports, body = _split(chain.from_iterable(module.body for module in stripped))
    names = Counter(chain.from_iterable(map(_defines, body)))
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise ValueError(f"defined by two modules: {', '.join(twice)}")
    for function in _functions(body):
        _Renamer(_shorter(_locals(function))).rename_inside(function)
    letters = map("".join, product("_", ascii_letters))
    renamer = _Renamer(dict(zip((name for name in names if name not in keep), letters, strict=False)))
    for statement in body:
        renamer.visit(statement)
    module = ast.fix_missing_locations(ast.Module(body=[*imports, *body], type_ignores=[]))
    lines = ast.unparse(module).splitlines()
    return "\n".join(line.replace("    ", " ") for line in lines if line)


def _split(statements: Iterable[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Return the imports, each once, and everything else."""
    imports: dict[str, ast.stmt] = {}
    body = []
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports[ast.unparse(statement)] = statement
        else:
            body.append(statement)
    return list(imports.values()), body


def _defines(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, _Function | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (target.id for target in statement.targets if isinstance(target, ast.Name))


def _functions(body: Iterable[ast.stmt]) -> Iterator[_Function]:
    """Return functions and methods, not those nested in others."""
    for statement in body:
        if isinstance(statement, _Function):
            yield statement
        elif isinstance(statement, ast.ClassDef):
            yield from _functions(statement.body)


def _locals(function: _Function) -> Counter[str]:
    """Return the names that belong to a function and those nested in it, and how often each is used."""
    own: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.arg):
            own.add(node.arg)
        elif isinstance(node, ast.ExceptHandler):
            own.add(node.name or "")
        elif isinstance(node, _Function) and node is not function:
            own.add(node.name)
    return Counter(node.id for node in ast.walk(function) if isinstance(node, ast.Name) and node.id in own)


def _shorter(names: Counter[str]) -> dict[str, str]:
    return dict(zip((name for name, _ in names.most_common()), ascii_letters, strict=False))


class _Renamer(ast.NodeTransformer):
    """Gives names of variables, parameters, functions and classes their new form; attributes and keywords stay."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def rename_inside(self, function: _Function) -> None:
        """Rename what is local to a function, not the function."""
        name = function.name
        self.visit(function)
        function.name = name

    def visit(self, node: ast.AST) -> ast.AST:
        """Rename this node and what is below it."""
        for attribute in ("id", "arg", "name"):
            name = getattr(node, attribute, None)
            if isinstance(name, str) and not isinstance(node, ast.keyword | ast.alias):
                setattr(node, attribute, self.names.get(name, name))
        return self.generic_visit(node)


class _Stripper(ast.NodeTransformer):
    """Drops what only people and type checkers read."""

    def __init__(self, package: str) -> None:
        self.package = package

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drop docstrings, of attributes too."""
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Drop imports of each other; and `from __future__`: without annotations there is nothing to postpone."""
        module = node.module or ""
        return None if module == "__future__" or module.startswith(self.package + ".") else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.AST]:
        """Keep of `if TYPE_CHECKING` only the other branch."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(statement) for statement in node.orelse]
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        """Drop `TYPE_CHECKING = False`."""
        named = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return None if named == ["TYPE_CHECKING"] else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Turn `a: T = b` into `a = b`, and `a: T` into nothing."""
        return ast.Assign(targets=[node.target], value=self.visit(node.value)) if node.value else None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop annotations, and put something in a body that is empty without its docstring."""
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment] # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Put something in a body that is empty without its docstring."""
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node
