"""Write the pages of docs/reference that are made of the code: `python docs/reference.py`.

The Python API and the kit come from docstrings, the command line from the Typer application. The pages are kept in the
repository, to be read anywhere; a test compares them with the code.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import typer
from signatures import attributes, bases, methods, signature

import poolform
from poolform.cli import app as cli
from poolform.cli.session import Session
from poolform.core.runs.launchers import JobState
from poolform.core.store.pools import PoolState
from poolform.core.store.runs import RunState
from poolform.core.terraform.plan import Action

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent / "reference"
_API = {
    "Pool types": (
        *("PoolType", "Variables", "Outputs", "JobVariables", "Provider", "Connection", "Identity", "Finding"),
        *("Credential", "Orphan"),
    ),
    "What a pool type may be able to do": (
        *("MintsCredentials", "ChecksCredentials", "Disconnects", "Moves", "Migrates", "FindsOrphans", "Suggests"),
    ),
    "Launchers": (
        *("Launcher", "Job", "JobStatus", "LogPage", "LogLine", "Prepares", "Notifies", "StartsRuntime"),
        *("LaunchRefused", "NoCapacity", "Unavailable", "Unknowable"),
    ),
    "Blocks": ("Block",),
    "Hooks": ("hookimpl", "Review"),
    "What hooks are handed": ("WorkPool", "Plan", "Change", "FlowRun"),
    "Errors": ("PoolformError",),
}
_REST = "Flows and deployments"
_WORDS = {"JobState": JobState, "Action": Action, "PoolState": PoolState, "RunState": RunState}
"""Types that are only words, which are listed where an attribute is of one."""
_KIT = (
    ("The contracts", "poolform.testing", ("PoolTypeContract", "LauncherContract")),
    ("Fixtures", "poolform.testing.fixtures", ("throwaway_home", "standin")),
    ("Stand-in providers", "poolform.testing.standin", None),
)
_IMPORTED = """\
All that can be imported from `poolform`. Importing it is free: each name is fetched when it is first used. `Json` is
whatever Python's `json` reads and writes.
"""
_STREAMS = """\
Results go to standard output: tables, a plan that was asked for, what a run printed, and with `-o json` the same for
programs. Everything else goes to standard error: progress, questions and the plan that one is about, what was done,
what to do next.
"""
_EXIT_CODES = """\
| exit code | means |
|---|---|
| 0 | done |
| 1 | it failed |
| 2 | wrong usage; nothing was changed |
| 3 | declined; nothing was changed |
| 4 | there are changes, or something has drifted |
| 5 | the run that was watched did not complete |
| 130 | interrupted |
"""
_WRITTEN = "<!-- Written by docs/reference.py from the code: change it there. -->\n"


def pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    return {"api.md": _api(), "testing.md": _kit(), "cli.md": _cli()}


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")


# -- Python --------------------------------------------------------------------------------------------------------


def _api() -> str:
    placed = {name for names in _API.values() for name in names}
    rest = [name for name in poolform.__all__ if name not in placed and not name.startswith("_")]
    parts = [
        _WRITTEN,
        "# The Python API\n",
        _IMPORTED,
    ]
    for title, names in {**_API, _REST: tuple(rest)}.items():
        parts += [f"## {title}\n", *(_entry(name, getattr(poolform, name)) for name in names)]
    return "\n".join(parts)


def _kit() -> str:
    parts = [_WRITTEN, "# The test kit\n", f"{_doc(import_module('poolform.testing'))}\n"]
    for title, module_name, names in _KIT:
        module = import_module(module_name)
        parts.append(f"## {title}\n")
        if module_name != "poolform.testing":
            parts.append(f"{_doc(module)}\n")
        parts += [_entry(name, getattr(module, name)) for name in names or sorted(module.__all__)]
    return "\n".join(parts)


def _entry(name: str, value: Any) -> str:
    """Return the section of one public name."""
    if inspect.isclass(value):
        about = f"{_contract(value) if name.endswith('Contract') else _doc(value)}\n"
        return "\n".join((f"### {name}\n", f"```python\nclass {name}{bases(value)}\n```\n", about, *_members(value)))
    function = value if inspect.isfunction(value) else getattr(value, "__wrapped__", None)
    function = function or getattr(value, "_fixture_function", None)
    declared = f"```python\n{name}{signature(function)}\n```\n" if inspect.isfunction(value) else ""
    return "\n".join(filter(None, (f"### {name}\n", declared, f"{_doc(function or value, name)}\n")))


def _contract(cls: type) -> str:
    """Return what is said of a contract where it is defined, and of its settings."""
    settings = next(owner for owner in cls.__mro__ if inspect.get_annotations(owner))
    return f"{_doc(import_module(cls.__module__))}\n\n{_doc(settings)}"


def _members(cls: type) -> Iterator[str]:
    about = _attribute_docs(cls)
    listed = list(dict.fromkeys(attributes(cls)))
    if listed:
        yield "\n".join(_item(declared, _with_words(declared, about.get(name, ""))) for name, declared in listed) + "\n"
    seen: set[str] = set()
    told: list[str] = []
    rules: list[str] = []
    for name, declared, function in methods(cls):
        if name.startswith("test_"):
            rules.append(_rule(name, function))
        elif declared not in seen:
            seen.add(declared)
            shown = declared.replace("(self, ", "(").replace("(self)", "()").replace("(cls, ", "(")
            text = "" if name == "__init__" else _doc(function, name)
            told.append(
                _item(shown.replace("def __init__", cls.__name__).replace("def __call__", "calling it: "), text)
            )
    if told:
        yield "\n".join(told) + "\n"
    if rules:
        yield "Its rules:\n\n" + "\n".join(sorted(rules)) + "\n"


def _with_words(declared: str, text: str) -> str:
    """Say after an attribute's text what words its type stands for."""
    named = (name for name in _WORDS if re.search(rf"\b{name}\b", declared))
    told = (f"`{name}` is one of {', '.join(f'`{word}`' for word in get_args(_WORDS[name]))}." for name in named)
    return "\n\n".join(filter(None, (text, *told)))


def _item(declared: str, text: str) -> str:
    return f"- `{declared}`" + (f"\n\n{textwrap.indent(text, '    ')}\n" if text else "")


def _rule(name: str, function: Any) -> str:
    sentence = name.removeprefix("test_").replace("_", " ").replace(" s ", "'s ")
    first = _doc(function).partition("\n\n")[0]
    # A rule that Hypothesis feeds has Hypothesis's own words where it has none.
    return f"- {sentence}" + (f": {first}" if first and "Hypothesis" not in first else "")


def _attribute_docs(cls: type) -> dict[str, str]:
    """Return the docstrings that follow attributes, and the descriptions of a model's fields."""
    found = {name: field.description for name, field in getattr(cls, "model_fields", {}).items() if field.description}
    for owner in reversed(cls.__mro__):
        if not owner.__module__.startswith("poolform"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        body = getattr(tree, "body", [])
        for assigned, after in itertools.pairwise(body):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if is_text and isinstance(assigned, ast.AnnAssign) and isinstance(assigned.target, ast.Name):
                found[assigned.target.id] = inspect.cleandoc(str(after.value.value))
    return found


def _doc(value: Any, name: str = "") -> str:
    """Return a docstring as Markdown: indented examples become blocks."""
    text = inspect.getdoc(value) or ""
    if name == "hookimpl":
        text = "Marks a function of a plugin as the implementation of the hook of the same name: `@hookimpl`."
    elif not inspect.isclass(value) and not inspect.isfunction(value) and not inspect.ismodule(value):
        text = inspect.getdoc(type(value)) or "" if name == "" else text
    return re.sub(
        r"\n\n((?:    .*\n?|\n)+)",
        lambda match: f"\n\n```python\n{textwrap.dedent(match[1]).strip()}\n```\n\n",
        text + "\n",
    ).strip()


# -- the command line ----------------------------------------------------------------------------------------------


def _cli() -> str:
    root = click.Context(typer.main.get_command(cli.app), info_name="poolform")
    parts = [
        _WRITTEN,
        "# The command line\n",
        _STREAMS,
        _EXIT_CODES,
        _parameters(root),
    ]
    for noun in cli.Root.list_commands(root.command, _without_plugins(root)):
        if noun in cli._NOUNS:  # noqa: SLF001 - those of plugins are not ours to tell
            parts += _command(root, noun, "##")
    return "\n".join(parts)


def _without_plugins(context: Any) -> Any:
    context.obj = Session(no_plugins=True)
    return context


def _command(parent: Any, name: str, heading: str) -> Iterator[str]:
    command = parent.command.get_command(parent, name)
    context = click.Context(command, info_name=name, parent=parent)
    yield f"{heading} {context.command_path}\n"
    yield f"{' '.join((command.help or '').split())}\n"
    if hasattr(command, "commands"):
        for verb in command.list_commands(context):
            yield from _command(context, verb, f"{heading}#")
        return
    arguments = [_argument(item, context) for item in command.params if item.param_type_name == "argument"]
    yield f"```text\n{' '.join((context.command_path, *arguments, '[OPTIONS]'))}\n```\n"
    yield _parameters(context)


def _parameters(context: Any) -> str:
    rows = [_row(parameter, context) for parameter in context.command.get_params(context)]
    rows = [row for row in rows if row]
    return "| | |\n|---|---|\n" + "\n".join(rows) + "\n" if rows else ""


def _argument(parameter: Any, context: Any) -> str:
    name = parameter.make_metavar(context).strip("[]{}")
    return name if parameter.required else f"[{name}]"


def _row(parameter: Any, context: Any) -> str:
    if parameter.name in ("help", "install_completion", "show_completion") or getattr(parameter, "hidden", False):
        return ""
    kind = parameter.param_type_name
    names = ", ".join(parameter.opts) if kind == "option" else parameter.make_metavar(context).strip("[]{}")
    value = ""
    if kind == "option" and not parameter.is_flag:
        choices = getattr(parameter.type, "choices", None)
        value = f" {'/'.join(map(str, choices)) if choices else parameter.metavar}"
    text = (getattr(parameter, "help", None) or "").replace("|", "\\|")
    default = parameter.default
    shown = isinstance(default, str | int | float) and not isinstance(default, bool) and default != ""
    text += f" Default: `{default}`." if kind == "option" and shown else ""
    return f"| `{names}{value}` | {text}{' Required.' if parameter.required and kind == 'option' else ''} |"


def changed() -> Sequence[str]:
    """Return the names of pages that are not as the code is."""
    return [name for name, text in pages().items() if (HERE / name).read_text(encoding="utf-8") != text]


if __name__ == "__main__":
    sys.exit(main())
