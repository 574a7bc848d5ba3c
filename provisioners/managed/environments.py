"""Environments of packages: one for each resolved set, built once, kept while it is used.

A request (the packages as somebody wrote them) is resolved to a set of exact versions, and remembered for a day; equal
sets share an environment, whoever asked for them and however. Builds hold a lock of the file system, so any number of
workers may ask at once. An environment is ready when its marker is there; one without was cut off, and is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import re
import shutil
import threading
import time
from typing import TYPE_CHECKING, Protocol

from poolform.core.runs.launchers import LaunchRefused, NoCapacity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PATIENCE = 10.0
"""Seconds that a launch waits for a build; afterwards its run is put back, to be launched once it is there."""
FRESH = 24 * 3600.0
"""Seconds for which a request is taken to mean what it meant before."""
_READY = ".poolform-ready"
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")  # an index's address may hold a password
_WORDS = 400
_PRUNE_EVERY = 3600.0


class Builder(Protocol):
    """What makes environments; raises BuildFailed."""

    @property
    def identity(self) -> str:
        """What an environment depends on beside its packages: which Python, on what."""

    def resolve(self, packages: Sequence[str]) -> Sequence[str]:
        """Return the exact set that these packages mean now."""

    def build(self, folder: Path, pins: Sequence[str]) -> None:
        """Make an environment in `folder`, which is not there yet."""


class BuildFailed(Exception):
    """The tool said why."""


class Environments:
    """The environments below one folder, as one builder makes them."""

    def __init__(
        self,
        folder: Path,
        builder: Builder,
        *,
        keep: float,
        patience: float = PATIENCE,
        fresh: float = FRESH,
    ) -> None:
        self._folder, self._builder = folder, builder
        self._keep, self._patience, self._fresh = keep, patience, fresh
        self._builds: dict[str, _Build] = {}
        self._prune_at = 0.0

    def provide(self, packages: Sequence[str]) -> Path:
        """Return the environment for these packages; it stays for as long as `keep` says, and while it is in use.

        Raises NoCapacity while it is being built, LaunchRefused where it cannot be.
        """
        for package in packages:
            if package.startswith("-") or not package.isprintable() or not package.strip():
                raise LaunchRefused(f"{package!r} names no package: write NAME, or a name with a version, NAME>=1.2.")
        wanted = sorted(set(packages))
        key = _digest([self._builder.identity, *wanted])
        name = self._known(key) or self._built(key, wanted)
        (self._folder / name / _READY).touch()  # when it was asked for last
        return self._folder / name

    def use(self, environment: Path, job: str) -> None:
        """Note that a job uses an environment."""
        uses = self._folder / "uses"
        uses.mkdir(mode=0o700, exist_ok=True)
        (uses / job).write_text(environment.name)

    def leave(self, job: str) -> None:
        """Note that a job is gone, and remove environments that nobody has asked for in a while, now and then."""
        (self._folder / "uses" / job).unlink(missing_ok=True)
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + _PRUNE_EVERY
            self.prune()

    def prune(self) -> None:
        """Remove environments that no job uses and nobody has asked for in a while."""
        used = {path.read_text() for path in self._folder.glob("uses/*")}
        for path in self._folder.glob("env-*/"):
            marker = path / _READY
            with contextlib.suppress(FileNotFoundError), self._lock(path.name):
                if path.name not in used and time.time() - marker.stat().st_mtime > self._keep:
                    marker.unlink()  # at once for everybody who looks, however long the rest takes
                    shutil.rmtree(path, ignore_errors=True)

    def _known(self, key: str, *, fresh: float | None = None) -> str | None:
        """Return the environment that a request meant before, unless that is too long ago, or it is not there."""
        try:
            known = json.loads((self._folder / f"request-{key}.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        if time.time() - known["at"] > (self._fresh if fresh is None else fresh):
            return None
        return str(known["environment"]) if (self._folder / known["environment"] / _READY).exists() else None

    def _built(self, key: str, wanted: Sequence[str]) -> str:
        build = self._builds.get(key)
        if build is None:
            build = self._builds[key] = _Build(self, key, wanted)
        build.thread.join(self._patience)
        if build.thread.is_alive():
            raise NoCapacity(f"an environment with {', '.join(wanted) or 'no packages'} is still being made")
        del self._builds[key]
        if build.trouble is not None:
            # What it meant before is better than nothing, where the index cannot be asked.
            old = self._known(key, fresh=float("inf"))
            if old is None:
                raise LaunchRefused(f"An environment with {', '.join(wanted)} cannot be made: {build.trouble}")
            return old
        return build.name

    def make(self, key: str, wanted: Sequence[str]) -> str:
        """Resolve a request and build what it means, unless somebody else has meanwhile. Raises BuildFailed."""
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with self._lock(key):
            if known := self._known(key):
                return known
            pins = sorted(self._builder.resolve(wanted)) if wanted else []
            name = f"env-{_digest([self._builder.identity, *pins])}"
            with self._lock(name):
                if not (self._folder / name / _READY).exists():
                    shutil.rmtree(self._folder / name, ignore_errors=True)
                    self._builder.build(self._folder / name, pins)
                    (self._folder / name / _READY).write_text("\n".join(pins))
            note = self._folder / f"request-{key}.json"
            note.with_suffix(".new").write_text(
                json.dumps({"at": time.time(), "packages": wanted, "environment": name})
            )
            note.with_suffix(".new").rename(note)
            return name

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class _Build:
    """A build in a thread of its own; `trouble` is why it failed."""

    def __init__(self, environments: Environments, key: str, wanted: Sequence[str]) -> None:
        self.name = ""
        self.trouble: str | None = None
        self.thread = threading.Thread(target=self._run, args=(environments, key, wanted), daemon=True)
        self.thread.start()

    def _run(self, environments: Environments, key: str, wanted: Sequence[str]) -> None:
        try:
            self.name = environments.make(key, wanted)
        except BuildFailed as exc:
            self.trouble = _CREDENTIALS.sub("", " ".join(str(exc).split()))[-_WORDS:]
        except OSError as exc:
            self.trouble = f"{exc.strerror} ({exc.filename})"
        except Exception as exc:  # noqa: BLE001 - told by whoever waits for the thread
            self.trouble = f"{type(exc).__name__}: {exc}"


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:16]
