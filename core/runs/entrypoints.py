"""From `FILE.py:FUNCTION` to what a deployment needs to know of a flow.

The code is imported by a Python of its own, in the way that a job will import it: what works here works there. In our
process it could end us (`sys.exit` at its end), print over our results, shadow our modules with its own, or start
threads; and whatever it did, the next flow would find it done. The 0.2 s that this takes are well spent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolform.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from poolform.core.runs.launchers import Json

OPTIONS = ("retries", "retry_delay_seconds", "timeout_seconds", "log_prints", "validate_parameters")
"""What a flow of ours may ask for its runs. Prefect's flows have the same, and see to it themselves, inside the job."""
_NOT_INHERITED = ("POOLFORM_", "TF_", "PG_CONN_STR")


@dataclass(frozen=True)
class Description:
    """What is known of a flow from its code."""

    flow_name: str
    parameter_schema: Mapping[str, Json]
    description: str | None = None
    options: Mapping[str, Json] = field(default_factory=dict)
    files: Sequence[str] = ()
    """The files of its folder that importing it took, relative to that; none for flows that were not read from one."""


@dataclass(frozen=True)
class Place:
    """Where a flow's code is: an entrypoint, relative to a folder."""

    entrypoint: str
    folder: Path


def describe(flow: Callable[..., Any]) -> Description:
    """Return what a flow, or any callable, says of itself."""
    from poolform.core.runs import docstrings, parameters
    from poolform.core.runs.flows import Flow

    name = getattr(flow, "name", None) or getattr(flow, "__name__", type(flow).__name__).replace("_", "-")
    ours = isinstance(getattr(flow, "__func__", flow), Flow)
    # Only ours: two retries of Prefect's own within each of three attempts would make nine.
    options = {option: getattr(flow, option) for option in OPTIONS if ours and _is_plain(getattr(flow, option))}
    description = getattr(flow, "description", None) or docstrings.summary(flow.__doc__)
    return Description(str(name), parameters.schema_of(flow), description, options)


def locate(text: str, folder: Path) -> Place:
    """Return the place that `text` names, seen from `folder`. Raises UsageError where it names nothing."""
    path, _, name = text.rpartition(":")
    if not path or not name:
        function = f"{text}:FUNCTION" if text.endswith(".py") else "FILE.py:FUNCTION or package.module:FUNCTION"
        raise UsageError(f"{text!r} does not say which function is the flow.", hint=f"Write it as {function}.")
    if not path.endswith(".py"):
        return Place(text, folder)
    file = (folder / path).resolve()
    if file.is_relative_to(folder.resolve()):
        return Place(f"{file.relative_to(folder.resolve())}:{name}", folder.resolve())
    return Place(f"{file.name}:{name}", file.parent)  # code from elsewhere: its own folder is its source


def read(place: Place) -> Description:
    """Import a flow's code in a Python of its own and return what it says.

    Raises UsageError when the code is not there (with what is near), cannot be imported (with its last words and where
    it said them), or ends that Python.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    with tempfile.TemporaryDirectory(prefix="poolform-") as scratch:
        answer = Path(scratch) / "answer.json"
        child = subprocess.run(
            [sys.executable, "-m", __name__, place.entrypoint, str(place.folder), str(answer)],
            cwd=place.folder if place.folder.is_dir() else None,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # one pipe: with two, a child that fills the unread one never returns
            check=False,
        )
        if not answer.exists():
            raise UsageError(
                f"Importing {place.entrypoint} ended Python with {_ending(child.returncode)}.",
                hint=_last_words(child.stdout.decode("utf-8", "replace")),
            )
        said = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in said:
        raise UsageError(said["error"], hint=said["hint"])
    return Description(**said)


def _is_plain(value: Json) -> bool:
    return isinstance(value, bool | int | float)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"


def _last_words(output: str) -> str | None:
    lines = output.strip().splitlines()
    return "\n".join(lines[-5:]) or None


def _answer(entrypoint: str, folder: str) -> dict[str, Json]:
    """Import, in the child, and return a Description's fields, or an error and its hint."""
    from poolform.runtime.entrypoint import load
    from poolform.runtime.refusal import Refusal

    try:
        target = load(entrypoint, folder)
    except Refusal as refusal:
        sentence, _, hint = str(refusal).partition(" Did you mean ")
        return {"error": _capitalised(sentence), "hint": f"Did you mean {hint}" if hint else None}
    except BaseException as exc:  # noqa: BLE001 - whatever their code does when it is imported
        return {
            "error": f"Importing {entrypoint} failed: {_said(exc)}.",
            "hint": _package(entrypoint, exc) or _where(exc),
        }
    try:
        return {**asdict(describe(target)), "files": _imported(Path(folder).resolve())}
    except Exception as exc:  # noqa: BLE001 - a signature that cannot be read, or a schema that cannot be made
        return {"error": f"The parameters of {entrypoint} cannot be described: {_said(exc)}.", "hint": None}


def _imported(folder: Path) -> list[str]:
    """Return the Python files below `folder` that were imported, installed packages (and Poolform) left out."""
    found = set()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py") or name.split(".")[0] in {"poolform", "__main__"}:
            continue
        path = Path(file).resolve()
        if path.is_relative_to(folder) and not {"site-packages", "dist-packages"} & set(path.parts):
            found.add(path.relative_to(folder).as_posix())
    return sorted(found)


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}".rstrip(": .")


def _package(entrypoint: str, error: BaseException) -> str | None:
    """Return how to name a file that imports its neighbours in a package, which a file by itself has none of."""
    file, _, function = entrypoint.rpartition(":")
    if not isinstance(error, ImportError) or "no known parent package" not in str(error) or "/" not in file:
        return None
    return f"Name it as a module of its package: {file.removesuffix('.py').replace('/', '.')}:{function}"


def _where(error: BaseException) -> str | None:
    """Return the place in their code where it went wrong: the last frame below what imports it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename} line {error.lineno}"
    place = None
    trace = error.__traceback__
    while trace is not None:
        if not trace.tb_frame.f_globals.get("__name__", "").startswith(("poolform.", "importlib", "__main__")):
            place = f"{trace.tb_frame.f_code.co_filename} line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] if sentence.startswith("the") else sentence  # else it is a file's name


def _main(entrypoint: str, folder: str, answer: str) -> None:
    said = json.dumps(_answer(entrypoint, folder))
    part = Path(f"{answer}.part")
    part.write_text(said, encoding="utf-8")
    part.rename(answer)
    os._exit(0)  # their threads and exit handlers are none of our business


if __name__ == "__main__":
    _main(*sys.argv[1:])
