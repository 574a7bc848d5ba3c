"""The way to a Docker engine: the `docker` program, or one that takes the same words, such as podman.

The program and not a library: it knows BuildKit, contexts, platforms and everybody's credential helpers, of which
docker-py knows only the last. Passwords go to its standard input, and what it keeps of them into a folder that goes
with the push; values of build arguments travel in its environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from poolform.core.errors import ImageError, Interrupted, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PROGRAM_VARIABLE = "POOLFORM_DOCKER"
_NO_ENGINE = re.compile(
    r"cannot connect to the docker daemon|error during connect|daemon is not running|docker_engine|"
    r"permission denied while trying to connect|cannot connect to podman|dial unix",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"unauthorized|denied|authentication required|no basic auth|forbidden|incorrect username", re.IGNORECASE
)
_UNREACHABLE = re.compile(
    r"connection refused|no such host|i/o timeout|network is unreachable|connection reset|deadline exceeded|"
    r"server gave http response|certificate",
    re.IGNORECASE,
)
_NO_REPOSITORY = re.compile(r"name unknown|name_unknown|repository .*(does not exist|not found)", re.IGNORECASE)


@dataclass(frozen=True)
class RegistryLogin:
    """Who may push to a registry, such as `ghcr.io`."""

    registry: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Build:
    """What `docker build` is asked: a folder or a packed context, a Dockerfile in it, and flags.

    `packed` is a tar archive, given instead of the folder; `dockerfile` is then a name in it. `env` holds the values of
    build arguments.
    """

    reference: str
    context: Path
    dockerfile: Path | str
    flags: Sequence[str] = ()
    packed: IO[bytes] | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


class Docker:
    """One docker program, with one configuration."""

    def __init__(self, program: str, env: Mapping[str, str]) -> None:
        self._program, self._env = program, env

    @classmethod
    def find(cls, environ: Mapping[str, str] | None = None) -> Docker:
        """Return the program that POOLFORM_DOCKER names, else docker or podman on PATH, once its engine answers.

        Raises UsageError where there is none, ImageError where no engine runs.
        """
        env = dict(os.environ if environ is None else environ)
        named = env.get(PROGRAM_VARIABLE)
        programs = (named,) if named else ("docker", "podman")
        found = next(filter(None, (shutil.which(program, path=env.get("PATH")) for program in programs)), None)
        if found is None:
            raise UsageError(
                f"There is no {named or 'docker'} on this machine to build or push images with.",
                hint="Install Docker or Podman; or have the image made elsewhere: --no-build --no-push.",
            )
        docker = cls(found, env)
        docker._run(["version"], _Nothing(), doing="Asking the engine")
        return docker

    def build(self, build: Build, on_line: Callable[[str], None]) -> None:
        """Build an image, giving each line of the builder's output to `on_line`. Raises ImageError."""
        where = "-" if build.packed else str(build.context)
        command = ["build", "--tag", build.reference, "--file", str(build.dockerfile), *build.flags, where]
        self._run(
            command, on_line, doing=f"Building the image {build.reference}", stdin=build.packed, env=dict(build.env)
        )

    def push(self, reference: str, on_line: Callable[[str], None]) -> None:
        """Push an image. Raises ImageError."""
        self._run(["push", reference], on_line, doing=f"Pushing the image {reference}")

    @contextmanager
    def logged_in(self, login: RegistryLogin | None) -> Iterator[Docker]:
        """Yield a Docker that is logged in for as long as this lasts, and leaves nothing of it; None: this one."""
        if login is None:
            yield self
            return
        with tempfile.TemporaryDirectory(prefix="poolform-docker-") as folder:
            self._take_over_contexts(Path(folder))
            docker = Docker(
                self._program, {**self._env, "DOCKER_CONFIG": folder, "REGISTRY_AUTH_FILE": f"{folder}/auth"}
            )
            with tempfile.TemporaryFile() as password:
                password.write(login.password.encode())
                password.seek(0)
                docker._run(
                    ["login", "--username", login.username, "--password-stdin", login.registry],
                    _Nothing(),
                    doing=f"Logging in to {login.registry} as {login.username}",
                    stdin=password,
                )
            yield docker

    def _take_over_contexts(self, folder: Path) -> None:
        """Let a configuration of its own reach the same engine: which context is current, and what contexts are."""
        theirs = Path(self._env.get("DOCKER_CONFIG") or Path.home() / ".docker")
        try:
            current = json.loads((theirs / "config.json").read_text(encoding="utf-8")).get("currentContext")
        except (OSError, ValueError, AttributeError):
            current = None
        # Without any entry, `docker login` would look for a keychain, and keep the password there.
        settings = {"auths": {"none.invalid": {}}, **({"currentContext": current} if current else {})}
        (folder / "config.json").write_text(json.dumps(settings))
        if (theirs / "contexts").is_dir():
            (folder / "contexts").symlink_to((theirs / "contexts").resolve())

    def _run(
        self,
        arguments: Sequence[str],
        on_line: Callable[[str], None],
        *,
        doing: str,
        stdin: IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        lines: list[str] = []
        with subprocess.Popen(
            (self._program, *arguments),
            env={**self._env, **(env or {})},
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # one pipe: with two, a child that fills the unread one never returns
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as child:
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    lines.append(line.rstrip())
                    on_line(lines[-1])
            except KeyboardInterrupt as exc:
                child.wait()  # the terminal told it as well
                raise Interrupted(f"{doing} was interrupted; nothing was deployed.") from exc
        if child.returncode:
            raise _explained(doing, [line for line in lines if line.strip()], child.returncode)


class _Nothing:
    """Hears lines that nobody wants to see."""

    def __call__(self, line: str) -> None:
        """Forget it."""


def _explained(doing: str, lines: Sequence[str], code: int) -> ImageError:
    """Return what a failed command's last lines mean, and what to do."""
    text = "\n".join(lines[-12:])
    last = lines[-1] if lines else f"exit code {code}"
    if _NO_ENGINE.search(text):
        return ImageError(
            f"{doing} failed: no Docker engine answers.",
            hint="Start it (Docker Desktop, or systemctl start docker), or name another with DOCKER_HOST. "
            "Without one: --no-build --no-push, with an image that was made elsewhere.",
        )
    if doing.startswith("Building"):
        return ImageError(f"{doing} failed: {_plain(last)}", hint=text if len(lines) > 1 else None)
    if _NO_REPOSITORY.search(text):
        return ImageError(
            f"{doing} failed: the registry has no such repository, and makes none by itself.",
            hint="Make it there first, or leave the registry out, for the pool's own.",
        )
    if _UNREACHABLE.search(text):
        return ImageError(f"{doing} failed: the registry cannot be reached: {_plain(last)}")
    if _REFUSED.search(text):
        hint = (
            "Log in (docker login REGISTRY), or keep the login in a block: poolform block create "
            "registry-credentials/NAME, then credentials=NAME."
        )
        refused = "the name or the password was not accepted" if doing.startswith("Logging") else "not allowed"
        return ImageError(f"{doing} failed: {refused}: {_plain(last)}", hint=hint)
    return ImageError(f"{doing} failed: {_plain(last)}")


def _plain(line: str) -> str:
    return re.sub(r"^(error|ERROR|Error)( response from daemon)?:\s*", "", line.strip()).rstrip(".") + "."
