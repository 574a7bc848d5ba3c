"""Backends, providers and when they need an init.

Terraform's data folder (installed providers, the chosen backend) is shared by all pools that need the same ones, so a
second pool initialises nothing; and a module with neither providers nor a remote backend never needs an init at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from poolform.core.errors import UsageError, nearest
from poolform.core.terraform.workspace import LOCK_FILE, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from poolform.core.settings import Settings
    from poolform.core.terraform.locate import Binary

BACKENDS = ("local", "s3", "gcs", "azurerm", "pg", "http")
# By their names in Terraform's backend documentation; each has an environment variable of its own.
_SECRET_SETTINGS = {
    "access_key": "AWS_ACCESS_KEY_ID",
    "secret_key": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "conn_str": "PG_CONN_STR",
    "password": "TF_HTTP_PASSWORD",
    "sas_token": "ARM_SAS_TOKEN",
    "client_secret": "ARM_CLIENT_SECRET",
    "credentials": "GOOGLE_BACKEND_CREDENTIALS",
    "access_token": "GOOGLE_OAUTH_ACCESS_TOKEN",
    "encryption_key": "GOOGLE_ENCRYPTION_KEY",
}
# What leads there and is not among the settings: the environment's, and of some only the environment's.
_WAY_IN = {
    "s3": "AWS credentials",
    "gcs": "Google credentials",
    "azurerm": "an Azure login",
    "pg": "PG_CONN_STR",
    "http": "TF_HTTP_USERNAME and TF_HTTP_PASSWORD",
}
# What has no default and no environment variable of Terraform's; the rest it asks for itself.
_NEEDED = {
    "s3": ("bucket", "key"),
    "gcs": ("bucket",),
    "azurerm": ("storage_account_name", "container_name", "key"),
}
# Ours is set afresh; the rest would silently change what a command means, or carries our own secrets.
_NOT_INHERITED = re.compile(
    r"TF_CLI_ARGS.*|TF_WORKSPACE|TF_DATA_DIR|TF_VAR_.*|TF_INPUT|POOLFORM_SECRET_KEYS|POOLFORM_DATABASE_URL"
)

# How much garbage Go lets pile up, in per cent of what is alive, before it collects; its own default is 100. Most of a
# command's CPU time goes into reading a large provider's schema, which lives until the command ends: with the AWS
# provider this saves a fifth of it for a quarter more memory. https://go.dev/doc/gc-guide#GOGC
_GARBAGE = "400"

# As Terraform lays them out in a lock file; what is laid out otherwise stays, and is compared.
_CHECKSUMS = re.compile(r"^  hashes = \[\n(?:    .*\n)*  \]\n", re.MULTILINE)


@dataclass(frozen=True)
class Backend:
    """Where a pool's state is kept: a backend of Terraform's and its settings, without secrets."""

    kind: str = "local"
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in BACKENDS:
            raise UsageError(f"There is no state backend {self.kind!r}.", hint=nearest(self.kind, BACKENDS))
        lacks = [name for name in _NEEDED.get(self.kind, ()) if not self.settings.get(name)]
        if lacks:
            given = " ".join(f"--backend-config {name}=…" for name in lacks)
            them = "it" if len(lacks) == 1 else "them"
            needs = f"The state backend {self.kind} needs {' and '.join(lacks)}."
            raise UsageError(needs, hint=f"Give {them}: {given}")
        for name in self.settings:
            if name in _SECRET_SETTINGS:
                raise UsageError(
                    f"The backend setting {name} is a secret, which would be stored in clear.",
                    hint=f"Give it by the environment variable {_SECRET_SETTINGS[name]}.",
                )

    @property
    def is_local(self) -> bool:
        """Whether the state is a file in the workspace."""
        return self.kind == "local"

    @property
    def hint(self) -> str | None:
        """What to look at where Terraform says what is wrong and not of what: most likely it is the backend."""
        if self.is_local:
            return None
        return f"State is in the backend {self.kind}: is it there, and does the environment have {_WAY_IN[self.kind]}?"


@dataclass(frozen=True)
class DataFolder:
    """Terraform's data folder for one workspace, and whether it is ready for that workspace's module."""

    settings: Settings
    binary: Binary
    providers: Mapping[str, str]
    backend: Backend
    workspace: Workspace

    @property
    def path(self) -> Path:
        """Where it is: named after all that an init depends on."""
        parts = [self.binary.product, self.binary.version, self.binary.embedded, sorted(self.providers.items())]
        if not self.backend.is_local:
            # The data folder records the backend's settings, the key of this pool's state among them.
            parts += [self.backend.kind, sorted(self.backend.settings.items())]
        return self.settings.home / "terraform" / "data" / _digest(parts)

    @property
    def needs_init(self) -> bool:
        """Whether this module needs an init at all: builtin resources with local state do not."""
        return bool(self.providers) or not self.backend.is_local

    def make_ready(self, init: Callable[[], None], *, seed: str | None = None, again: bool = False) -> None:
        """Call `init` unless an earlier one still holds; leave the dependency lock file in the workspace.

        `seed` is the lock file that the pool was last applied with. One init runs at a time on this machine:
        Terraform's plugin cache is not safe for concurrent use.
        """
        self.settings.folder("terraform", "data")
        if not self.needs_init:
            return
        seed = seed or self._read(self._known_lock)
        if not again and self._is_ready(seed):
            return
        with self._one_at_a_time():
            if not again and self._is_ready(seed):
                return
            if seed is not None:
                self.workspace.put(LOCK_FILE, seed)
            self._marker.unlink(missing_ok=True)
            init()
            lock = self.workspace.read(LOCK_FILE) or ""
            # Whole or not at all, as the workspace's own: half a lock file would be in the way of every later init.
            Workspace(self.settings.folder("terraform", "locks")).put(self._known_lock.name, lock)
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # no init makes it for reattached providers
            Workspace(self.path).put(self._marker.name, lock)

    def verified_folder(self) -> Path | None:
        """Return a folder, in the workspace, in which no checksums are compared; None where there are none to compare.

        Terraform computes the checksum of every provider's package before it starts one: for the AWS provider's 700 MB
        a fifth of what it takes to read a plan. Only for a command right after one that has compared them, and that
        changes nothing: whoever could put another program there in between could do so after a comparison as well.
        """
        lock = self.workspace.read(LOCK_FILE) or ""
        versions_only = _CHECKSUMS.sub("", lock)
        if versions_only == lock:
            return None
        folder = Workspace(self.workspace.path / "verified")
        folder.write({LOCK_FILE: versions_only})
        return folder.path

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a Terraform command: the caller's, less what would change its meaning.

        Terraform and its providers, which inherit it, collect their garbage less often than Go would by itself, unless
        the caller has said how often.
        """
        env = {name: value for name, value in environ.items() if not _NOT_INHERITED.fullmatch(name)}
        env |= {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_DATA_DIR": str(self.path)}
        if self.needs_init and not _has_plugin_cache(env):
            env["TF_PLUGIN_CACHE_DIR"] = str(self.settings.folder("terraform", "plugins"))
        env.setdefault("GOGC", _GARBAGE)
        return env

    # The marker holds the lock file of the init that it stands for.
    @property
    def _marker(self) -> Path:
        return self.path / "poolform-ready.lock.hcl"

    @property
    def _known_lock(self) -> Path:
        return self.settings.home / "terraform" / "locks" / f"{_digest(sorted(self.providers.items()))}.hcl"

    def _is_ready(self, seed: str | None) -> bool:
        ready = self._read(self._marker)
        if ready is None or (seed is not None and seed != ready):
            return False
        if ready:
            self.workspace.put(LOCK_FILE, ready)
        return True

    @staticmethod
    def _read(path: Path) -> str | None:
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        with (self.settings.folder("terraform") / "init.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _has_plugin_cache(env: Mapping[str, str]) -> bool:
    """Say whether the user's own CLI configuration already has a plugin cache, which is then respected."""
    if env.get("TF_PLUGIN_CACHE_DIR"):
        return True
    named = env.get("TF_CLI_CONFIG_FILE")
    for path in [Path(named)] if named else [Path("~/.terraformrc"), Path("~/.tofurc")]:
        try:
            path = path if named else path.expanduser()  # noqa: PLW2901 - the same file
            if re.search(r"^\s*plugin_cache_dir\s*=", path.read_text(encoding="utf-8"), re.MULTILINE):
                return True
        except (OSError, UnicodeDecodeError, RuntimeError):  # or nobody has a home here
            continue
    return False


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
