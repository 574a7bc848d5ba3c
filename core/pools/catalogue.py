"""The pool types that plugins bring, by their slugs; one that a plugin only names is imported when it is needed.

The models of one cloud take a tenth of a second to build, so a command that is about a pool of one type should not pay
for all the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolform.core.errors import PluginError, PoolformError

if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, Iterator, ValuesView

    from poolform.core.pools.contract import PoolType

    Offer = type[PoolType] | str


@dataclass(frozen=True)
class Plugin:
    """One loaded plugin: its entry point's name, and the distribution that it came in."""

    name: str
    distribution: str
    version: str

    @property
    def label(self) -> str:
        """Name it in plans, records and errors."""
        return f"{self.name} ({self.distribution} {self.version})" if self.distribution else self.name


@dataclass(frozen=True)
class Registered:
    """A pool type and the plugin that brought it."""

    pool_type: PoolType
    plugin: Plugin

    @contextmanager
    def acting(self, what: str) -> Iterator[None]:
        """Call the pool type inside this: whatever it raises becomes a PluginError that names the plugin, exits too."""
        try:
            yield
        except PluginError as exc:
            if exc.plugin != self.pool_type.slug:
                raise
            # From where only the pool type was known, such as rendering.
            text = f"the pool type {exc.plugin}: {exc.message.removeprefix(f'plugin {exc.plugin}: ')}"
            raise PluginError(self.plugin.label, text, hint=exc.hint) from exc
        except (PoolformError, KeyboardInterrupt):
            raise
        except ModuleNotFoundError as exc:
            needed = f"The pool type {self.pool_type.slug} needs {exc.name}, which is not installed."
            extra = self.pool_type.extra
            raise PoolformError(
                needed, hint=f"Install what it needs: pip install '{extra}'" if extra else None
            ) from exc
        except BaseException as exc:
            text = f"{what} of the pool type {self.pool_type.slug} failed: {reason(exc)}."
            raise PluginError(self.plugin.label, text) from exc


class Catalogue(Mapping[str, Registered]):
    """Pool types by slug. One that turns out to be broken is reported, and is not there any more."""

    def __init__(self, report: Callable[[PluginError], None]) -> None:
        self._report = report
        self._offers: dict[str, tuple[Plugin, Offer]] = {}
        self._loaded: dict[str, Registered] = {}
        self.left_out: dict[str, PluginError] = {}
        """What is wrong with a pool type that would be here but for that, by its slug."""

    def offer(self, plugin: Plugin, slug: str | None, offer: Offer) -> None:
        """Take a pool type in: a class, which is checked now, or `module:Class`, checked when it is imported."""
        if not isinstance(offer, str):
            registered = self._checked(plugin, offer)
            if registered is None or self._taken(plugin, registered.pool_type.slug):
                return
            slug = registered.pool_type.slug
            self._loaded[slug] = registered
        elif slug is None or self._taken(plugin, slug):
            return
        self._offers[slug] = (plugin, offer)

    def __getitem__(self, slug: str) -> Registered:
        """Return a pool type, imported where it is not yet."""
        if slug not in self._loaded:
            registered = self._imported(slug, *self._offers[slug])
            if registered is None:
                self._offers.pop(slug, None)  # workers ask from several threads
                raise KeyError(slug)
            self._loaded[slug] = registered
        return self._loaded[slug]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._offers))

    def __len__(self) -> int:
        return len(self._offers)

    def __contains__(self, slug: object) -> bool:
        return slug in self._offers

    def items(self) -> ItemsView[str, Registered]:
        """Return every slug with its pool type, all imported."""
        return self._every().items()

    def values(self) -> ValuesView[Registered]:
        """Return every pool type, all imported."""
        return self._every().values()

    def plugin_of(self, slug: str) -> Plugin:
        """Return who brings a slug, without importing what is brought."""
        return self._offers[slug][0]

    def _every(self) -> dict[str, Registered]:
        found = {slug: self.get(slug) for slug in self}
        return {slug: registered for slug, registered in found.items() if registered is not None}

    def _taken(self, plugin: Plugin, slug: str) -> bool:
        if slug not in self._offers:
            return False
        text = f"the pool type {slug} is already brought by {self._offers[slug][0].label}; this one is left out."
        hint = "Uninstall one of them, or narrow POOLFORM_PLUGINS."
        self._report(PluginError(plugin.label, text, hint=hint))
        return True

    def _imported(self, slug: str, plugin: Plugin, offer: Offer) -> Registered | None:
        import importlib

        assert isinstance(offer, str)  # classes are loaded
        module, _, name = offer.partition(":")
        try:
            cls = getattr(importlib.import_module(module), name)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001 - a stranger's module may raise anything at import, and exit
            self._leave_out(plugin, slug, f"the pool type {slug} cannot be imported: {reason(exc)}.")
            return None
        registered = self._checked(plugin, cls)
        if registered is not None and registered.pool_type.slug != slug:
            text = f"the pool type that it offers as {slug} says it is {registered.pool_type.slug}."
            self._leave_out(plugin, slug, text)
            return None
        return registered

    def _checked(self, plugin: Plugin, cls: Any) -> Registered | None:
        from poolform.core.pools.conformance import contract_problems

        name = str(getattr(cls, "slug", None) or getattr(cls, "__name__", repr(cls)))
        try:
            problems = contract_problems(cls)
            made = None if problems else cls()
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001 - a stranger's class may be anything
            self._leave_out(plugin, name, f"the pool type {name} cannot be made: {reason(exc)}.")
            return None
        if made is None:
            self._leave_out(plugin, name, f"the pool type {name} breaks the contract: {'; '.join(problems)}.")
            return None
        return Registered(made, plugin)

    def _leave_out(self, plugin: Plugin, slug: str, text: str) -> None:
        problem = PluginError(plugin.label, text)
        self.left_out[slug] = problem
        self._report(problem)


def reason(exc: BaseException) -> str:
    """Return what went wrong in a line."""
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}" if str(exc) else type(exc).__name__
