"""What plugins and flows may rely on, as text: any change to it must be meant.

`python tests/plugins/test_public_api.py` accepts the public API as it is now: it writes public_api.txt.
"""

from __future__ import annotations

import difflib
import inspect
import subprocess
import sys
from pathlib import Path

from poolform.core.plugins import Hooks
from poolform.core.pools.contract import CONTRACT

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

from signatures import attributes, bases, methods, signature

SNAPSHOT = Path(__file__).with_name("public_api.txt")
MODULES = ("poolform", "poolform.testing.fixtures", "poolform.testing", "poolform.testing.standin")
# Fixtures are found by pytest, not imported; the rest of the module is not public.
NAMES = {"poolform.testing.fixtures": ("StandinFactory", "standin", "throwaway_home")}


def describe():
    """Return all that is public, one name a line, sorted."""
    lines = [f"contract {CONTRACT}", "", "# hooks"]
    lines += [f"def {name}{signature(getattr(Hooks, name))}" for name in sorted(vars(Hooks)) if name.startswith("pool")]
    for module_name in MODULES:
        module = __import__(module_name, fromlist=["_"])
        lines += ["", f"# {module_name}"]
        for name in sorted(NAMES.get(module_name, getattr(module, "__all__", ()))):
            if not name.startswith("__"):
                lines += _described(name, getattr(module, name))
    return "\n".join(lines) + "\n"


def _described(name, value):
    if inspect.isclass(value):
        yield f"class {name}{bases(value)}"
        members = [declared for _, declared in attributes(value)]
        members += [_rule(name) or declared for name, declared, _ in methods(value)]
        yield from (f"    {member}" for member in sorted(set(members)))
    elif inspect.isfunction(value):
        yield f"def {name}{signature(value)}"
    else:  # pytest's fixtures, and what is made of functions
        yield f"{name}: {type(value).__name__}"


def _rule(name):
    """Return what a test of a contract is called there; its arguments are fixtures of the kit's own."""
    return f"rule {name.removeprefix('test_').replace('_', ' ')}" if name.startswith("test_") else ""


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
