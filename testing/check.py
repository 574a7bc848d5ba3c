"""Conformance of a whole plugin: the contracts' tests, run for all that it brings. Behind `poolform plugin check`.

A plugin may have a module `conformance` in its package, with subclasses of PoolTypeContract and LauncherContract (and
fixtures of theirs). A pool type that no class there is about is tried with what the contract assumes by itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolform.core.errors import NotFound, PluginError, UsageError, nearest
from poolform.core.plugins import BUILT_IN, GROUP, Plugins, load_plugin
from poolform.core.pools.catalogue import Plugin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NEEDED = ("pytest", "hypothesis", "grpc", "msgpack")
_LONGEST = 600
"""Characters of what a failure says: enough for Terraform's own words."""
_EXPLANATIONS = ("assert ", "Falsifying ", "Explanation:", "  +", "E  ")
"""Lines that begin what pytest and Hypothesis add to a failure."""
_CONFTEST = "pytest_plugins = {plugins!r}\n"
_SUITE = """\
from poolform.testing.check import classes

globals().update(classes({modules!r}))
"""


@dataclass(frozen=True)
class Shortfall:
    """A rule that something does not keep: a pool type by its slug, a launcher by its test's name, or the plugin."""

    subject: str
    rule: str
    message: str

    def sentence(self) -> str:
        """Say it on one line."""
        return f"{self.subject}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class Report:
    """What a check found. `kept` counts the rules that were tried and hold; `untried` says what was not, and why."""

    plugin: str
    kept: int
    shortfalls: tuple[Shortfall, ...] = ()
    untried: tuple[Shortfall, ...] = ()

    @property
    def conforms(self) -> bool:
        """Whether nothing falls short."""
        return not self.shortfalls


@dataclass
class _Tried:
    kept: int = 0
    shortfalls: list[Shortfall] = field(default_factory=list)
    untried: list[Shortfall] = field(default_factory=list)


def run(package: str) -> Report:
    """Check a plugin: an installed distribution, an entry point's name, or the import path of a module.

    Raises UsageError where the extra `testing` is missing, NotFound for a package that is not there, PluginError when
    its tests cannot even be run.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        needed = f"A check needs {', '.join(missing)}, which are not installed."
        raise UsageError(needed, hint="Install them: pip install 'poolform[testing]'")
    modules = _modules(package)
    problems = _problems(modules)
    if problems:
        return Report(package, 0, tuple(Shortfall(package, "the plugin loads", problem) for problem in problems))
    try:
        cases = classes(modules)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise PluginError(package, f"its conformance cannot be imported: {type(exc).__name__}: {exc}.") from exc
    tried = _tried(package, modules, cases) if cases else _Tried()
    tried.kept += 1  # it loads
    if not any(_is_about_launchers(case) for case in cases.values()) and _pool_types(modules):
        home = _conformance_name(modules[0])
        tried.shortfalls.append(
            Shortfall(package, "its launchers are tested", f"there is no subclass of LauncherContract in {home}")
        )
    return Report(package, tried.kept, tuple(tried.shortfalls), tuple(tried.untried))


def classes(modules: Sequence[str]) -> dict[str, type]:
    """Return the test classes of these plugin modules, under names that pytest collects."""
    from poolform.testing.launchers import LauncherContract
    from poolform.testing.pool_types import PoolTypeContract

    contracts = (LauncherContract, PoolTypeContract)
    homes = [import_module(name) for name in _conformance_modules(modules)]
    found = {
        f"Test{case.__name__.removeprefix('Test')}": case
        for home in homes
        for case in vars(home).values()
        if isinstance(case, type) and issubclass(case, contracts) and case not in contracts
    }
    covered = {getattr(case, "pool_type", None) for case in found.values() if issubclass(case, PoolTypeContract)}
    for pool_type in _pool_types(modules):
        if pool_type not in covered:
            name = pool_type.__name__
            found[f"TestOf{name}"] = type(name, (PoolTypeContract,), {"pool_type": pool_type})
    return found


# -- finding the plugin --------------------------------------------------------------------------------------------


def _modules(package: str) -> list[str]:
    """Return what a plugin registers, by the name of its distribution, of an entry point, or by import path.

    Each is a module or, as entry points have it, `module:object`.
    """
    entry_points = metadata.entry_points(group=GROUP)
    of_package = [
        entry_point.value
        for entry_point in entry_points
        if package == entry_point.name or (entry_point.dist and _same(package, entry_point.dist.name))
    ]
    if of_package:
        return sorted(of_package)
    if _exists(package):
        return [package]
    known = {entry_point.name for entry_point in entry_points}
    known |= {entry_point.dist.name for entry_point in entry_points if entry_point.dist}
    raise NotFound(
        f"There is no plugin {package!r}: no such distribution, entry point or module.", hint=nearest(package, known)
    )


def _same(left: str, right: str) -> bool:
    """Compare names of distributions as packaging tools do."""
    return re.sub(r"[-_.]+", "-", left).lower() == re.sub(r"[-_.]+", "-", right).lower()


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _conformance_name(module: str) -> str:
    module = module.partition(":")[0]
    return f"{module.rpartition('.')[0] or module}.conformance"


def _conformance_modules(modules: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(map(_conformance_name, modules)) if _exists(name)]


def _loaded(modules: Sequence[str]) -> Plugins:
    """Return the plugins as they would load: after the built-in ones, whose slugs are taken."""
    plugins = Plugins()
    for entry_point in metadata.entry_points(group=GROUP):
        if entry_point.dist and entry_point.dist.name == BUILT_IN and entry_point.value not in modules:
            load_plugin(plugins, Plugin(entry_point.name, BUILT_IN, entry_point.dist.version), entry_point.load)
    for module in modules:
        load_plugin(plugins, Plugin(module, "", ""), metadata.EntryPoint(module, module, GROUP).load)
    return plugins


def _problems(modules: Sequence[str]) -> list[str]:
    """Return what keeps the plugin from loading, or a part of it."""
    plugins = _loaded(modules)
    found = plugins.all_problems()
    return [item.message.removeprefix(f"plugin {item.plugin}: ") for item in found if item.plugin in modules]


def _pool_types(modules: Sequence[str]) -> list[Any]:
    known = _loaded(modules).pool_types
    return [type(known[slug].pool_type) for slug in known if known.plugin_of(slug).name in modules]


def _is_about_launchers(case: type) -> bool:
    from poolform.testing.launchers import LauncherContract

    return issubclass(case, LauncherContract)


# -- running the tests ---------------------------------------------------------------------------------------------


def _tried(package: str, modules: Sequence[str], cases: Mapping[str, type]) -> _Tried:
    """Run the classes in a pytest of their own, away from anybody's configuration, and read its report."""
    with tempfile.TemporaryDirectory(prefix="check-") as name:  # short: the paths of sockets in it have a limit
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        plugins = ["poolform.testing.fixtures", *_conformance_modules(modules)]
        (folder / "conftest.py").write_text(_CONFTEST.format(plugins=plugins), encoding="utf-8")
        (folder / "test_conformance.py").write_text(_SUITE.format(modules=list(modules)), encoding="utf-8")
        report = folder / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={report}"]
        environ = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        environ["TMPDIR"] = name  # nothing that the tests make is left, wherever they break off
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # what can be imported here, can be there
        ended = subprocess.run(
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if ended.returncode not in (0, 1):
            said = " ".join((ended.stdout + ended.stderr).split())[-400:]
            raise PluginError(package, f"its tests cannot be run: {said}.")
        return _read(ET.parse(report), cases)  # noqa: S314 - our own pytest has just written it


def _read(report: ET.ElementTree[ET.Element], cases: Mapping[str, type]) -> _Tried:
    tried = _Tried()
    for case in report.iter("testcase"):
        cls: Any = cases[(case.get("classname") or "").rpartition(".")[2]]
        subject = cls.__name__ if _is_about_launchers(cls) else cls.pool_type.slug
        rule = (case.get("name") or "").removeprefix("test_").replace("_s_", "'s ").replace("_", " ")
        verdicts = list(_verdicts(case))
        if not verdicts:
            tried.kept += 1
        for is_skip, message in verdicts:
            (tried.untried if is_skip else tried.shortfalls).append(Shortfall(subject, rule, message))
    return tried


def _verdicts(case: ET.Element) -> Iterator[tuple[bool, str]]:
    for outcome in case:
        if outcome.tag in ("failure", "error", "skipped"):
            yield outcome.tag == "skipped", said_in(outcome.get("message") or "no reason given")


def said_in(message: str) -> str:
    """Return what a failure says, in one line: neither pytest's explanations, nor the names of exceptions of ours."""
    lines: list[str] = []
    for line in message.strip().splitlines():
        if lines and line.startswith(_EXPLANATIONS):
            break
        lines.append(line)
    text = " ".join(" ".join(lines).split())
    text = re.sub(r"^((\w+\.)*(AssertionError|Failed)|poolform\.core\.[\w.]+): ", "", text)
    text = re.sub(r"^plugin \S+: (?=\S)", "", text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
