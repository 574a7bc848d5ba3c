"""What plugins and flows may rely on, as text: any change to it must be meant.

`python tests/plugins/test_public_api.py` accepts the public API as it is now: it writes public_api.txt.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import subprocess
import sys
from pathlib import Path

from poolform.core.plugins import Hooks
from poolform.core.pools.contract import CONTRACT

SNAPSHOT = Path(__file__).with_name("public_api.txt")
MODULES = ("poolform", "poolform.testing.fixtures", "poolform.testing", "poolform.testing.standin")
# Fixtures are found by pytest, not imported; the rest of the module is not public.
NAMES = {"poolform.testing.fixtures": ("StandinFactory", "standin", "throwaway_home")}


def describe():
    """Return all that is public, one name a line, sorted."""
    lines = [f"contract {CONTRACT}", "", "# hooks"]
    lines += [
        f"def {name}{_signature(getattr(Hooks, name))}" for name in sorted(vars(Hooks)) if name.startswith("pool")
    ]
    for module_name in MODULES:
        module = __import__(module_name, fromlist=["_"])
        lines += ["", f"# {module_name}"]
        for name in sorted(NAMES.get(module_name, getattr(module, "__all__", ()))):
            if not name.startswith("__"):
                lines += _described(name, getattr(module, name))
    return "\n".join(lines) + "\n"


def _described(name, value):
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from (f"    {line}" for line in sorted(set(_members(value))))
    elif inspect.isfunction(value):
        yield f"def {name}{_signature(value)}"
    else:  # pytest's fixtures, and what is made of functions
        yield f"{name}: {type(value).__name__}"


def _members(cls):
    """Yield what a class and its bases of ours offer: attributes with their defaults, methods with their signatures."""
    for owner in cls.__mro__:
        if owner.__module__.startswith("poolform"):
            annotations = inspect.get_annotations(owner)
            for name, annotation in annotations.items():
                if not name.startswith("_") and name != "model_config" and not name.isupper():
                    yield f"{name}: {annotation}{_default(cls, name)}"
            for name, value in vars(owner).items():
                if name not in annotations:
                    yield from _member(cls, name, value)


def _member(cls, name, value):
    made = dataclasses.is_dataclass(cls) or any(base.__module__.startswith("pydantic") for base in cls.__mro__)
    is_ours = getattr(value, "__module__", "").startswith("poolform")
    if name.startswith("_") and (made or name not in ("__init__", "__call__") or not is_ours):
        return
    if name.startswith("test_"):
        yield f"rule {name.removeprefix('test_').replace('_', ' ')}"
    elif isinstance(value, property):
        yield f"{name}: {inspect.signature(value.fget).return_annotation}, read only"
    elif isinstance(value, classmethod | staticmethod):
        yield f"{type(value).__name__} {name}{_signature(value.__func__)}"
    elif inspect.isfunction(value):
        yield f"def {name}{_signature(value)}"
    elif "fixture" in type(value).__name__.lower():
        yield f"fixture {name}"


def _default(cls, name):
    if dataclasses.is_dataclass(cls) and name in cls.__dataclass_fields__:
        field = cls.__dataclass_fields__[name]
        if field.default is not dataclasses.MISSING:
            return f" = {_plain(field.default)}"
        return " = …" * (field.default_factory is not dataclasses.MISSING)
    field = getattr(cls, "model_fields", {}).get(name)
    if field is not None:
        return "" if field.is_required() else f" = {_plain(field.get_default(call_default_factory=True))}"
    return f" = {_plain(getattr(cls, name))}" if hasattr(cls, name) else ""


def _plain(value):
    """Return a default as it is written, where that is short and the same on every machine."""
    is_plain = value is None or isinstance(value, str | int | float | tuple)
    return Text(repr(value) if is_plain else "…")


class Text(str):
    """Text that stands in a signature as it is, without quotes."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


def _signature(function):
    signature = inspect.signature(function)
    empty = inspect.Signature.empty
    parameters = [
        parameter.replace(
            default=empty if parameter.default is empty else _plain(parameter.default),
            annotation=empty if parameter.annotation is empty else Text(parameter.annotation),
        )
        for parameter in signature.parameters.values()
    ]
    returns = signature.return_annotation
    return signature.replace(parameters=parameters, return_annotation=returns if returns is empty else Text(returns))


def described_elsewhere():
    """Return it from a process of its own: the kit's fixtures want to be imported before what they are about."""
    command = [sys.executable, __file__, "--print"]
    return subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout


def test_the_public_api_is_as_it_was():
    known, found = SNAPSHOT.read_text(encoding="utf-8"), described_elsewhere()
    lines = difflib.unified_diff(known.splitlines(), found.splitlines(), "public_api.txt", "now", lineterm="", n=1)
    diff = "\n".join(lines)
    assert found == known, (
        f"The public API has changed:\n\n{diff}\n\n"
        "If that is meant, accept it: python tests/plugins/test_public_api.py\n"
        "What may change, and how, is in docs/reference/compatibility.md; say it in CHANGELOG.md."
    )


def test_a_change_shows():
    """The snapshot is no use when it does not tell what plugins would trip over."""
    text = described_elsewhere()
    for line in (
        "def poolform_review_plan(self, pool: WorkPool, plan: Plan) -> Iterable[Review]\n",
        "\nclass Review\n",
        "    severity: Literal['error', 'warning']\n",
        "    address: str | None = None\n",
        "    def launch(self, job: Job) -> str\n",
        "    threads: ClassVar[int] = 1\n",
        "    fixture connect\n",
        "    rule launching twice starts one job\n",
        "def schema(source: str, *, resources: ",
    ):
        assert line in text, line


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.reconfigure(encoding="utf-8")
        sys.stdout.write(describe())
    else:
        SNAPSHOT.write_text(describe(), encoding="utf-8")
