"""Plugins: the hooks that they may implement, and the manager that finds, checks and calls them.

A plugin is a module (or object) registered under the entry point group `poolform`; the built-in pool types come in
by the same door. A plugin that cannot be imported, misspells a hook, breaks the contract or claims a taken slug is
left out and reported by name; the rest works.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module, metadata
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import pluggy

from poolform.core import hooking
from poolform.core.errors import NotFound, PluginError, nearest
from poolform.core.pools.catalogue import Catalogue, Plugin, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from poolform.core.pools.catalogue import Registered
    from poolform.core.pools.contract import Block, PoolType, Review
    from poolform.core.runs.launchers import Json
    from poolform.core.settings import Settings
    from poolform.core.store.pools import WorkPool
    from poolform.core.store.runs import FlowRun
    from poolform.core.terraform.plan import Plan

    SourceWay = Callable[[Mapping[str, Json]], Json]

GROUP = "poolform"
BUILT_IN = "poolform"
"""The distribution whose plugins are always loaded."""
_OUR_SCHEMES = frozenset(
    ("file", "fsspec", "git", "http", "https", "image", "inline", "local", "ssh", "s3", "gs", "gcs", "az", "abfs")
)

_LONGEST_VALUE = 160
"""Characters of a value in the trace of calls."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a function of a plugin as the implementation of the hook of the same name."""


class Hooks:
    """Every hook, its exact signature, and when it is called."""

    @hookspec
    def poolform_pool_types(self) -> Iterable[type[PoolType]] | Mapping[str, str]:
        """Return the pool types that this plugin brings. Called once, when plugins are loaded.

        Either the classes, or a dictionary of their slugs and where they are, as `module:Class`: such a module is
        imported when something is about a pool of that type, so that others need not wait for it.
        """
        return ()

    @hookspec
    def poolform_block_types(self) -> Iterable[type[Block]]:
        """Return the block types that this plugin brings. Called once, when blocks are first needed."""
        return ()

    @hookspec
    def poolform_review_plan(self, pool: WorkPool, plan: Plan) -> Iterable[Review]:
        """Look at a plan before it is shown; a Review of severity "error" stops it. Also called for destroys."""
        return ()

    @hookspec
    def poolform_after_apply(self, pool: WorkPool) -> None:
        """Hear that a pool is ready. An exception is reported and changes nothing."""

    @hookspec
    def poolform_after_destroy(self, pool: WorkPool) -> None:
        """Hear that a pool's infrastructure is gone. An exception is reported and changes nothing."""

    @hookspec
    def poolform_run_changed(self, run: FlowRun) -> None:
        """Hear that a run came into a new state. Called by a worker, in order; an exception means: tell me again."""

    @hookspec
    def poolform_commands(self, app: Any) -> None:
        """Add commands to the command line; `app` is its Typer. Called for `--help` and for unknown nouns."""

    @hookspec
    def poolform_sources(self) -> Mapping[str, Callable[[Mapping[str, Json]], Json]]:
        """Return ways to name where code is, by the scheme of their URLs. Called once, when sources are first needed.

        A way is called for every job whose deployment has the source `{"type": SCHEME, "url": URL}`, and returns a
        source of a type that jobs can fetch, such as `{"type": "git", "url": …}`: so it may hand out addresses that
        expire. Secrets have no place in it; name the block that holds them as its `credentials`.
        """
        return {}


class Plugins:
    """The plugins of one process: what they bring, what is wrong with some, and a way to call them."""

    def __init__(self, trace: Callable[[str], None] | None = None) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(Hooks)
        self._trace = trace
        self._plugins: dict[str, Plugin] = {}
        self._problems: list[PluginError] = []
        self._pool_types = Catalogue(self.report)

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Every plugin that was loaded."""
        return tuple(self._plugins.values())

    @property
    def pool_types(self) -> Catalogue:
        """Every pool type by its slug."""
        return self._pool_types

    @cached_property
    def block_types(self) -> Mapping[str, type[Block]]:
        """Every block type by its name."""
        from poolform.core.pools.contract import Block, Secret
        from poolform.core.runs.credentials import BLOCK_TYPES

        ours: tuple[type[Block], ...] = (Secret, *BLOCK_TYPES)
        found: dict[str, type[Block]] = {known.block_type: known for known in ours}
        by: dict[str, str] = {}
        for about, block_type in self._gathered("poolform_block_types"):
            if not (
                isinstance(block_type, type) and issubclass(block_type, Block) and hasattr(block_type, "block_type")
            ):
                text = f"poolform_block_types returned {block_type!r}, which is not a Block with a block_type."
                self.report(PluginError(about.label, text))
                continue
            name = block_type.block_type
            if found.setdefault(name, block_type) is block_type:  # two may bring the same class
                by.setdefault(name, about.label)
                continue
            text = (
                f"the block type {name} is already brought by {by.get(name, 'Poolform itself')}; this one is left out."
            )
            self.report(PluginError(about.label, text))
        return found

    @cached_property
    def sources(self) -> Mapping[str, tuple[Plugin, SourceWay]]:
        """Every plugin's way to name where code is, by the scheme of its URLs, with the plugin that brought it."""
        found: dict[str, tuple[Plugin, SourceWay]] = {}
        for about, (scheme, way) in self._gathered("poolform_sources", lambda result: result.items()):
            taken = found.get(scheme)
            if taken is None and scheme not in _OUR_SCHEMES:
                found[scheme] = (about, way)
                continue
            by = taken[0].label if taken else "Poolform itself"
            text = f"the source type {scheme} is already brought by {by}; this one is left out."
            self.report(PluginError(about.label, text))
        return found

    @property
    def problems(self) -> tuple[PluginError, ...]:
        """What is wrong with plugins that were left out, in part or whole, as far as they were needed."""
        return tuple(self._problems)

    def all_problems(self) -> tuple[PluginError, ...]:
        """Return what is wrong with any plugin, having asked each for everything that it brings."""
        self.pool_types.values()
        assert self.block_types is not None
        assert self.sources is not None
        return self.problems

    def pool_type(self, slug: str) -> Registered:
        """Return a pool type. Raises NotFound, with the nearest names and any plugin that could not be loaded."""
        try:
            return self._pool_types[slug]
        except KeyError:
            pass
        known = self._pool_types.left_out.get(slug)
        if known is not None:
            raise NotFound(f"There is no pool type {slug!r}. {known.message}", hint=known.hint)
        others = [problem for problem in self._problems if problem not in self._pool_types.left_out.values()]
        broken = "".join(f" {problem.message}" for problem in others)
        # Where something is broken, it is more likely to be missed than a name that is only a little like this one.
        hint = nearest(slug, self._pool_types, cutoff=0.8) if others else nearest(slug, self._pool_types)
        raise NotFound(f"There is no pool type {slug!r}.{broken}", hint=hint)

    def register(self, plugin: object, about: Plugin) -> None:
        """Check a plugin, then take it in; what is wrong with it is added to `problems`."""
        problem = hooking.problem(self._manager, plugin, about.label)
        if problem is not None:
            self._problems.append(problem)
            return
        if about.name in self._plugins:
            first = self._plugins[about.name].label
            self._problems.append(PluginError(about.label, f"its name is taken by {first}."))
            return
        try:
            self._manager.register(plugin, name=about.name)
        except (pluggy.PluginValidationError, ValueError) as exc:
            self._problems.append(PluginError(about.label, f"{exc}"))
            return
        self._plugins[about.name] = about
        self._take_in(about)

    def call(self, hook: str, **arguments: object) -> Iterator[tuple[Plugin, Any]]:
        """Call a hook of each plugin in turn; yield what each returned. Raises PluginError, naming the plugin."""
        for about in self.plugins:
            for result in self._call_one(about, hook, arguments):
                yield about, result

    def hearing(self, hook: str) -> Sequence[Plugin]:
        """Return the plugins that implement a hook."""
        callers = self._manager.hook
        names = {implementation.plugin_name for implementation in getattr(callers, hook).get_hookimpls()}
        return [about for about in self.plugins if about.name in names]

    def ask(self, about: Plugin, hook: str, **arguments: object) -> list[Any]:
        """Call a hook of one plugin and return what it returned. Raises PluginError."""
        return self._call_one(about, hook, arguments)

    def tell(self, hook: str, **arguments: object) -> Iterator[PluginError]:
        """Call a hook that only hears; a plugin that fails is yielded as an error, and the others still hear."""
        for about in self.plugins:
            try:
                self._call_one(about, hook, arguments)
            except PluginError as exc:
                yield exc

    def report(self, problem: PluginError) -> None:
        """Note what is wrong with a plugin that could not even be imported."""
        self._problems.append(problem)

    def _take_in(self, about: Plugin) -> None:
        try:
            for offer in self._brought(about, "poolform_pool_types", _offers):
                self._pool_types.offer(about, *offer)
        except PluginError as exc:
            self.report(exc)

    def _gathered(self, hook: str, items: Callable[[Any], Iterable[Any]] = iter) -> Iterator[tuple[Plugin, Any]]:
        """Yield what each plugin brings by a hook; one that fails at it is reported."""
        for about in self.plugins:
            try:
                yield from ((about, item) for item in self._brought(about, hook, items))
            except PluginError as exc:
                self.report(exc)

    def _call_one(self, about: Plugin, hook: str, arguments: Mapping[str, object]) -> list[Any]:
        others = [plugin for name, plugin in self._manager.list_name_plugin() if name != about.name and plugin]
        caller = self._manager.subset_hook_caller(hook, others)
        began = time.perf_counter()
        try:
            # A generator runs, and may fail, only when it is asked for what it yields.
            results = [list(found) if isinstance(found, GeneratorType) else found for found in caller(**arguments)]
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            self._note_call(about, hook, arguments, f"failed: {reason(exc)}", began)
            raise PluginError(about.label, f"{hook} failed: {reason(exc).rstrip('.')}.") from exc
        if caller.get_hookimpls():
            self._note_call(about, hook, arguments, f"returned {_brief(results[0] if results else None)}", began)
        return results

    def _note_call(self, about: Plugin, hook: str, arguments: Mapping[str, object], ended: str, began: float) -> None:
        if self._trace is not None:
            given = ", ".join(f"{name}={_brief(value)}" for name, value in arguments.items())
            took = (time.perf_counter() - began) * 1000
            self._trace(f"plugin {about.label}: {hook}({given}) {ended}, in {took:.1f} ms\n")

    def _brought(self, about: Plugin, hook: str, items: Callable[[Any], Iterable[Any]] = iter) -> list[Any]:
        if about not in self.hearing(hook):
            return []
        results = hooking.required(about.label, hook, self._call_one(about, hook, {}))
        return [item for result in results for item in items(result)]


def load_plugins(settings: Settings, trace: Callable[[str], None] | None = None) -> Plugins:
    """Find, import, check and register plugins.

    Built-in ones always; of the others all that are installed, or those that `settings.plugins` names, by entry point
    or by the import path of a module.
    """
    plugins = Plugins(trace if settings.trace_plugins else None)
    wanted = settings.plugins
    found: set[str] = set()
    entry_points = sorted(metadata.entry_points(group=GROUP), key=lambda e: (_distribution(e)[0] != BUILT_IN, e.name))
    for entry_point in entry_points:
        distribution, version = _distribution(entry_point)
        if distribution != BUILT_IN and wanted is not None and entry_point.name not in wanted:
            continue
        found.add(entry_point.name)
        load_plugin(plugins, Plugin(entry_point.name, distribution, version), entry_point.load)
    for name in wanted or ():
        if name not in found:
            load_plugin(plugins, Plugin(name, "", ""), lambda name=name: import_module(name))  # type: ignore[misc]
    return plugins


def load_plugin(plugins: Plugins, about: Plugin, load: Callable[[], object]) -> None:
    """Import a plugin and register it; one that cannot be imported is reported."""
    try:
        plugin = load()
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - a stranger's module may raise anything at import, and exit
        if isinstance(exc, ModuleNotFoundError) and exc.name == about.name:  # no entry point is called so either
            text = "POOLFORM_PLUGINS names it, and neither an installed plugin nor a module is called so."
            others = {point.name for point in metadata.entry_points(group=GROUP) if _distribution(point)[0] != BUILT_IN}
            hint = f"Install it, or correct the name. {nearest(about.name, others) if others else ''}".rstrip()
            plugins.report(PluginError(about.label, text, hint=hint))
            return
        hint = "Reinstall or uninstall it, or leave it out of POOLFORM_PLUGINS."
        plugins.report(PluginError(about.label, f"it cannot be imported: {reason(exc)}.", hint=hint))
        return
    plugins.register(plugin, about)


def _distribution(entry_point: metadata.EntryPoint) -> tuple[str, str]:
    return (entry_point.dist.name, entry_point.dist.version) if entry_point.dist else ("", "")


def _brief(value: object) -> str:
    """Return enough of a value to tell which it is: a record's name, a text's beginning; never all of a record."""
    summary = getattr(value, "summary", None)
    name = summary() if callable(summary) else getattr(value, "name", None)
    if isinstance(name, str):
        return f"{type(value).__name__} {name}"
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _offers(result: Any) -> Iterable[tuple[str | None, Any]]:
    """Return pool types as slugs and where they are, or as classes that say their slug themselves."""
    return result.items() if isinstance(result, Mapping) else ((None, cls) for cls in result)
