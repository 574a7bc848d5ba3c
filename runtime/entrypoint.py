"""From an entrypoint to the callable that it names."""

from __future__ import annotations

import importlib
import os
import sys

from poolform.runtime.exit_codes import CODE_NOT_FOUND, ENTRYPOINT_INVALID
from poolform.runtime.refusal import Refusal, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(entrypoint: str, folder: str) -> Any:
    """Return the callable that `entrypoint` names, below `folder`; puts its folder first on sys.path.

    Raises Refusal when there is no such thing; what importing the code raises comes through as it is.
    """
    place, _, name = entrypoint.rpartition(":")
    if not place or not name:
        raise Refusal(
            ENTRYPOINT_INVALID, f"the entrypoint {entrypoint!r} is neither FILE.py:FUNCTION nor MODULE:FUNCTION."
        )
    if not os.path.isdir(folder):
        raise Refusal(CODE_NOT_FOUND, f"the source folder {folder} is not there.")
    module = _from_file(place, folder) if place.endswith(".py") else _from_module(place, folder)
    target = module
    for part in name.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            known = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
            raise Refusal(ENTRYPOINT_INVALID, f"{place} has no {name!r}." + nearest(name, known)) from None
    if not callable(target):
        raise Refusal(ENTRYPOINT_INVALID, f"{name!r} in {place} is not callable: its type is {type(target).__name__}.")
    return target


def _from_file(path: str, folder: str) -> Any:
    """Import a file under its own stem, as `import stem` beside it would, so that what it defines can be pickled."""
    from importlib.util import module_from_spec, spec_from_file_location

    file = os.path.abspath(os.path.join(folder, path))
    if not os.path.isfile(file):
        raise Refusal(CODE_NOT_FOUND, f"{path} is not in {folder}." + nearest(path, _python_files(folder)))
    _search_first(os.path.dirname(file), folder)
    name = os.path.basename(file)[:-3]
    if name in sys.modules:  # a flow in json.py must not become everybody's json
        name = "flow_" + name
    spec: Any = spec_from_file_location(name, file)
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _from_module(name: str, folder: str) -> Any:
    _search_first(folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name + ".").startswith(error.name + "."):
            raise Refusal(
                CODE_NOT_FOUND, f"there is no module {error.name!r} in {folder} or among the installed packages."
            ) from None
        raise


def _search_first(*folders: str) -> None:
    """Put `folders` first on sys.path, in the place of what Python put there for `-m` or `-c`."""
    replaced = 0 if getattr(sys.flags, "safe_path", False) else 1
    sys.path[:replaced] = dict.fromkeys(map(os.path.abspath, folders))


def _python_files(folder: str) -> list[str]:
    """Return the Python files below `folder`, as paths relative to it; the first thousand or so, nothing hidden."""
    found: list[str] = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name[0] not in "._"]
        found += [os.path.relpath(os.path.join(root, name), folder) for name in files if name.endswith(".py")]
        if len(found) > 1000:
            break
    return found
