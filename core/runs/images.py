"""Images that flows run in: what they are called, what is in them, and how they are built and pushed.

A generated Dockerfile copies the folder of the flow onto a Python of the version that deploys; the image needs no
Poolform. What nobody wants in an image (.git, environments, .env, caches) is left out, unless a .dockerignore says
what is.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from poolform.core.errors import NotReady, UsageError, nearest
from poolform.core.runs.docker import Build, Docker, RegistryLogin
from poolform.core.runs.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from poolform.core.blocks import Blocks
    from poolform.core.plugins import Plugins
    from poolform.core.pools.contract import Connection
    from poolform.core.store.pools import WorkPool

_log = logging.getLogger("poolform.images")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9.-]+(?::[0-9]+)?"
_NAME = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DOCKERFILE = ".poolform.Dockerfile"


@runtime_checkable
class HasRegistry(Protocol):
    """A pool type whose pools come with a registry that names images in its own way, and wants a login of its own."""

    def image_reference(self, connection: Connection, name: str, tag: str) -> str:
        """Return what an image without a registry is called in the pool's own. Pure."""

    def registry_login(self, connection: Connection) -> RegistryLogin:
        """Return a login that may push to the pool's registry, as whoever deploys. Asks the cloud."""


class DockerImage:
    """An image to build: `DockerImage("my-image", tag="1", platform="linux/arm64", buildargs={"A": "b"})`.

    `name` may have a registry and a tag; without a registry, the pool's own is meant, and without a tag, one is made of
    the time. `dockerfile` is "auto" or the path of one. `credentials` names a block `registry-credentials/NAME`; where
    there is none, it is pushed with what `docker login` left. `base_image` is what the generated Dockerfile starts
    from. Further options are those of docker-py, as far as `docker build` has them:
    buildargs, cache_from, extra_hosts, labels, network_mode, nocache, path, pull, secrets, target.
    """

    def __init__(
        self,
        name: str,
        tag: str | None = None,
        dockerfile: str | Path = "auto",
        *,
        platform: str = "linux/amd64",
        credentials: str | None = None,
        base_image: str | None = None,
        **build_kwargs: Any,
    ) -> None:
        self.name, found = _split(str(name))
        if found and tag:
            raise UsageError(f"The image {name} has a tag already; it cannot have the tag {tag} too.")
        self.tag = tag or found or time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        _check(self.name, self.tag)
        unknown = sorted(set(build_kwargs) - set(_OPTIONS))
        if unknown:
            raise UsageError(f"`docker build` has no option {unknown[0]}.", hint=nearest(unknown[0], _OPTIONS))
        self.dockerfile, self.platform, self.credentials = dockerfile, platform, credentials
        self.base_image, self.options = base_image, build_kwargs

    @property
    def reference(self) -> str:
        """Return NAME:TAG."""
        return f"{self.name}:{self.tag}"

    def __repr__(self) -> str:
        return f"<image {self.reference}>"

    def named(self, reference: str) -> DockerImage:
        """Return the same image under another name, NAME:TAG."""
        name, tag = _split(reference)
        return DockerImage(
            name,
            tag,
            self.dockerfile,
            platform=self.platform,
            credentials=self.credentials,
            base_image=self.base_image,
            **self.options,
        )

    def build(self, on_line: Callable[[str], None] = _log.info, *, folder: Path | None = None) -> None:
        """Build it, from the option `path`, else `folder`, else the current folder. Raises UsageError, ImageError."""
        context = Path(self.options.get("path") or folder or Path.cwd())
        if not context.is_dir():
            raise UsageError(f"The image {self.reference} cannot be built from {context}: that is no folder.")
        with self._build(context) as build:
            Docker.find().build(build, on_line)

    def push(self, on_line: Callable[[str], None] = _log.info, *, login: RegistryLogin | None = None) -> None:
        """Push it, with `login` where one is given. Raises UsageError where it names no registry; ImageError."""
        self.check_registry()
        with Docker.find().logged_in(login) as docker:
            docker.push(self.reference, on_line)

    def check_registry(self) -> None:
        """Raise UsageError where the name says nothing of where to push it to."""
        if "/" not in self.name:
            raise UsageError(
                f"The image {self.reference} names no registry, and there is no default one to push it to.",
                hint="Write REGISTRY/NAME:TAG, or OWNER/NAME:TAG for Docker Hub; or leave it here: --no-push.",
            )

    @contextmanager
    def _build(self, context: Path) -> Iterator[Build]:
        flags, env = _flags(self.options)
        flags = ["--platform", self.platform, *flags]
        if str(self.dockerfile) != "auto":
            path = context / self.dockerfile
            if not path.is_file():
                raise UsageError(
                    f"There is no Dockerfile {self.dockerfile} in {context}.",
                    hint='Leave it out for a generated one: dockerfile="auto".',
                )
            yield Build(self.reference, context, path, flags, env=env)
            return
        text = generated_dockerfile(context, self.base_image)
        if (context / ".dockerignore").exists():
            with tempfile.TemporaryDirectory(prefix="poolform-image-") as folder:
                path = Path(folder) / "Dockerfile"
                path.write_text(text, encoding="utf-8")
                yield Build(self.reference, context, path, flags, env=env)
            return
        with tempfile.TemporaryFile() as packed:
            pack(context, packed, {_DOCKERFILE: text})
            packed.seek(0)
            yield Build(self.reference, context, _DOCKERFILE, flags, packed, env)


DeploymentImage = DockerImage
"""What DockerImage was called before."""


def of(image: str | DockerImage | Any) -> DockerImage:
    """Return the image that a person means by a name or an image, one of Prefect's included. Raises UsageError."""
    if isinstance(image, DockerImage):
        return image
    if isinstance(image, str):
        return DockerImage(image)
    if hasattr(image, "name") and hasattr(image, "tag") and hasattr(image, "dockerfile"):
        return DockerImage(image.name, image.tag, image.dockerfile, **(getattr(image, "build_kwargs", None) or {}))
    raise UsageError(f"{image!r} is no image.", hint='Write "NAME:TAG", or DockerImage(NAME, TAG).')


@dataclass(frozen=True)
class Order:
    """What a deployment's image is called, and the image to build, if it is to be built."""

    reference: str | None
    image: DockerImage | None = None
    pool: WorkPool | None = None
    pool_type: object = None

    def carry_out(
        self,
        blocks: Blocks,
        *,
        folder: Path | None = None,
        push: bool = True,
        on_line: Callable[[str], None] = _log.info,
    ) -> None:
        """Build the image from `folder`, else the current one, and push it. Raises UsageError, NotFound, ImageError.

        Where it is pushed to, and with which login, is settled before minutes of building.
        """
        if self.image is None or self.pool is None:
            return
        if push:
            self._check_pool_has_registry()
            self.image.check_registry()
            login = _login(self.image, self.pool, self.pool_type, blocks)
        self.image.build(on_line, folder=folder)
        if push:
            self.image.push(on_line, login=login)

    def _check_pool_has_registry(self) -> None:
        """Raise NotReady where the image is meant for the pool's own registry, which is yet to be made."""
        assert self.image is not None and self.pool is not None  # noqa: PT018
        if "/" in self.image.name or self.pool.state == "ready" or not isinstance(self.pool_type, HasRegistry):
            return
        raise NotReady(
            f"The image {self.image.reference} names no registry, and the work pool {self.pool.name}, which has one of "
            f"its own, is {self.pool.state_in_words}.",
            hint=f"Provision it: poolform work-pool provision-infra {self.pool.name}. Or write REGISTRY/NAME:TAG.",
        )


def order(image: str | DockerImage | Any | None, pool: WorkPool, plugins: Plugins, *, build: bool = True) -> Order:
    """Return what is to be done about the image that somebody wants for deployments to a pool.

    One that is built and names no registry goes to the pool's own; one that is not built is taken as it is called.
    Raises UsageError for what is no image, and for pools whose jobs run in none.
    """
    if image is None:
        return Order(None)
    if "image" not in pool.base_job_template["variables"].get("properties", {}):
        raise UsageError(
            f"The work pool {pool.name} runs no images: its jobs run on the machine.", hint="Leave the image out."
        )
    if not build:
        return Order(image if isinstance(image, str) else of(image).reference)
    meant = of(image)
    pool_type = plugins.pool_type(pool.type).pool_type
    if "/" not in meant.name and pool.image_namespace:
        if isinstance(pool_type, HasRegistry) and pool.connection is not None:
            meant = meant.named(pool_type.image_reference(_connection(pool), meant.name, meant.tag))
        else:
            meant = meant.named(f"{pool.image_namespace.rstrip('/')}/{meant.reference}")
    return Order(meant.reference, meant, pool, pool_type)


def _login(image: DockerImage, pool: WorkPool, pool_type: object, blocks: Blocks) -> RegistryLogin | None:
    """Return what pushing the image takes: the block that it names, else what the pool's own registry wants, else None.

    Raises NotFound for a block that is not there, UsageError for one of another kind.
    """
    if image.credentials:
        block_type, _, name = image.credentials.rpartition("/")
        document = blocks.load(block_type or "registry-credentials", name)
        if not {"username", "password"} <= set(document.data):
            raise UsageError(f"The block {document.type}/{document.name} is no login for a registry.")
        registry = document.data.get("registry") or _registry(image.name)
        return RegistryLogin(registry, document.data["username"], document.data["password"])
    own = pool.image_namespace
    if isinstance(pool_type, HasRegistry) and pool.connection is not None and own and image.name.startswith(own):
        return pool_type.registry_login(_connection(pool))
    return None


def _connection(pool: WorkPool) -> Connection:
    from poolform.core.pools.contract import Connection

    return Connection(**(pool.connection or {}))


def generated_dockerfile(context: Path, base_image: str | None = None) -> str:
    """Return a Dockerfile for the code in a folder: its requirements, then itself."""
    base = base_image or f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    home = f"/opt/{re.sub(r'[^A-Za-z0-9._-]+', '-', context.resolve().name).strip('-.') or 'flows'}"
    lines = [f"FROM {base}", f"WORKDIR {home}"]
    if (context / "requirements.txt").is_file():  # on its own first: that layer is built anew only when it changes
        lines += ["COPY requirements.txt ./", "RUN python -m pip install --no-cache-dir -r requirements.txt"]
    lines.append("COPY . .")
    if not (context / "requirements.txt").is_file() and (context / "pyproject.toml").is_file():
        lines.append("RUN python -m pip install --no-cache-dir .")
    return "\n".join(lines) + "\n"


def _flags(options: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Return docker-py's options as flags of `docker build`, and the environment with values that no one shall see."""
    flags: list[str] = []
    env: dict[str, str] = {}
    for name, value in options.items():
        flag = _OPTIONS[name]
        if not flag or value in (None, False):
            continue
        if name == "buildargs":
            env |= {key: str(one) for key, one in value.items() if one is not None}
            value = list(value)  # noqa: PLW2901 - by name alone, docker takes them from its environment
        if value is True:
            flags.append(flag)
        elif isinstance(value, dict):
            joint = ":" if name == "extra_hosts" else "="
            flags += [word for key, one in value.items() for word in (flag, f"{key}{joint}{one}")]
        else:
            values = [value] if isinstance(value, str) else value
            flags += [word for one in values for word in (flag, str(one))]
    return flags, env


_OPTIONS: Mapping[str, str] = {
    "buildargs": "--build-arg",
    "cache_from": "--cache-from",
    "extra_hosts": "--add-host",
    "labels": "--label",
    "network_mode": "--network",
    "nocache": "--no-cache",
    "path": "",  # the folder, which is no flag
    "pull": "--pull",
    "secrets": "--secret",
    "target": "--target",
}


def _split(reference: str) -> tuple[str, str | None]:
    """Return an image's name and its tag; a colon before the last slash is a registry's port."""
    head, slash, last = reference.rpartition("/")
    name, _, tag = last.partition(":")
    return head + slash + name, tag or None


def _check(name: str, tag: str) -> None:
    if "@" in name:
        raise UsageError(f"{name}:{tag} is a digest, which only an image that is built already has.")
    if not _NAME.fullmatch(name):
        legal = re.sub(r"[^a-z0-9./:_-]+", "-", name.lower()).strip("-./_:")
        hint = f"Write it so: {legal}." if _NAME.fullmatch(legal) else "Write REGISTRY/NAME:TAG."
        raise UsageError(f"{name!r} cannot be the name of an image.", hint=hint)
    if not _TAG.fullmatch(tag):
        raise UsageError(f"{tag!r} cannot be the tag of an image.", hint="Use letters, digits, dots and dashes.")


def _registry(name: str) -> str:
    """Return the registry that an image's name begins with; Docker Hub's where it names none."""
    first = name.split("/", 1)[0]
    return first if "/" in name and re.search(r"[.:]|^localhost$", first) else "docker.io"
