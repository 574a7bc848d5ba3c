"""The package that `poolform plugin new` writes: complete, installable, and keeping every contract from the start.

It is here, beside the contracts, because the two change together. `package/` is that package as it would be for the
name `acorn`, which nothing else in it is called, and so a template without a template language: Jinja, HCL and GitHub's
`${{ }}` may stand in it as they are. Its files end in `.in`, so that nobody takes them for modules of ours, and `dot-`
begins the names of those that will be hidden, which setuptools would leave out of the wheel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import poolform
from poolform.core.errors import AlreadyExists, PoolformError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PREFIX = "poolform-"
_CLASSES = ("JobVariables", "Launcher", "Outputs", "PoolType", "Variables")
_LONGEST = 40
"""The longest name; a slug ends up in the names of cloud resources."""


@dataclass(frozen=True)
class Names:
    """What a plugin called `slug` calls its parts."""

    slug: str

    @classmethod
    def of(cls, name: str) -> Names:
        """Return the names for what a person calls a plugin: `lab`, or `poolform-lab`. Raises UsageError."""
        slug = name.removeprefix(_PREFIX)
        if not _NAME.fullmatch(slug) or len(slug) > _LONGEST:
            raise UsageError(
                f"{name!r} cannot be the name of a plugin.",
                hint=f"Use up to {_LONGEST} lower-case letters and digits, in words joined by dashes: my-cloud.",
            )
        names = cls(slug)
        taken = [name for name in (f"{names.classes}{part}" for part in _CLASSES) if name in poolform.__all__]
        if taken:
            raise UsageError(
                f"{name!r} cannot be the name of a plugin: its {taken[0]} would be taken for Poolform's.",
                hint="Say more about it, such as my-job.",
            )
        return names

    @property
    def distribution(self) -> str:
        """What pip installs."""
        return f"{_PREFIX}{self.slug}"

    @property
    def package(self) -> str:
        """What Python imports."""
        return self.distribution.replace("-", "_")

    @property
    def classes(self) -> str:
        """How the names of its classes begin."""
        return self.title.replace(" ", "")

    @property
    def title(self) -> str:
        """What people read."""
        return self.slug.replace("-", " ").title()

    def put_into(self, text: str) -> str:
        """Return text of the package `acorn` with these names."""
        text = text.replace("poolform_acorn", self.package)
        text = re.sub(r"Acorn(?=[A-Z])", self.classes, text)
        return text.replace("Acorn", self.title).replace("acorn", self.slug)


def package_files(names: Names) -> Mapping[str, str]:
    """Return the text of each file of a new package, by its path in it."""
    source = files(__name__) / "package"
    return {names.put_into(path.replace("dot-", ".")): names.put_into(text) for path, text in _read(source, "")}


def write(names: Names, folder: Path) -> list[Path]:
    """Write a new package into a folder that is not there yet, or empty; return its files.

    Raises AlreadyExists, PoolformError where it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AlreadyExists(f"{folder} is there already, and not empty.", hint="Take another one: --folder DIR")
    written = []
    for name, text in package_files(names).items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as exc:
            raise PoolformError(f"{path} cannot be written: {exc.strerror}.") from exc
        written.append(path)
    return written


def _read(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _read(item, f"{path}{item.name}/")
        elif item.name.endswith(".in"):
            yield f"{path}{item.name.removesuffix('.in')}", item.read_text(encoding="utf-8")
