"""What is wrong with how a plugin implements hooks, in sentences of ours: names, arguments, and what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from poolform.core.errors import PluginError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

_DICTIONARIES = ("poolform_sources",)
_LISTS = ("poolform_pool_types", "poolform_block_types")
BRINGING = (*_DICTIONARIES, *_LISTS)
"""Hooks that are there to return something: None can only be a forgotten `return`."""


def problem(manager: pluggy.PluginManager, plugin: object, label: str) -> PluginError | None:
    """Return what keeps a plugin from being loaded: a hook, or an argument of one, that there is not."""
    known = {name: spec.argnames for name, spec in _specs(manager)}
    options = {name: manager.parse_hookimpl_opts(plugin, name) for name in dir(plugin)}
    implemented = {
        name: pluggy.HookImpl(plugin, label, getattr(plugin, name), found)
        for name, found in options.items()
        if found is not None
    }
    misspelt = [name for name in implemented if name not in known]
    if misspelt:
        return PluginError(label, f"there is no hook {', '.join(misspelt)}.", hint=nearest(misspelt[0], known))
    for name, implementation in implemented.items():
        unknown = [argument for argument in implementation.argnames if argument not in known[name]]
        if unknown:
            text = f"its {name} asks for {', '.join(unknown)}, which that hook does not give."
            return PluginError(label, text, hint=f"It gives {', '.join(known[name]) or 'none'}.")
    return None


def required(label: str, hook: str, results: list[Any]) -> list[Any]:
    """Return what a plugin's implementation of a hook returned. Raises PluginError where it is of another kind."""
    wanted = "a dictionary" if hook in _DICTIONARIES else "a list"
    if not results and hook in BRINGING:  # pluggy leaves None out
        text = f"{hook} returned None, which is not {wanted}."
        raise PluginError(label, text, hint="Does it end without a `return`?")
    for result in results:
        kind = Mapping if hook in _DICTIONARIES else Iterable
        if not isinstance(result, kind) or isinstance(result, str | bytes):
            raise PluginError(label, f"{hook} returned {result!r}, which is not {wanted}.")
    return results


def _specs(manager: pluggy.PluginManager) -> Iterator[tuple[str, Any]]:
    return ((name, caller.spec) for name, caller in vars(manager.hook).items() if caller.spec is not None)
