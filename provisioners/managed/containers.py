"""Managed jobs as containers: the Docker launcher, with environments that are made in the job's own image."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from poolform.core.runs.launchers import Launcher, LaunchRefused
from poolform.provisioners.docker.container import POOL_LABEL
from poolform.provisioners.docker.engine import asking
from poolform.provisioners.docker.images import Images
from poolform.provisioners.docker.launcher import GRACE, DockerLauncher
from poolform.provisioners.managed import runtime
from poolform.provisioners.managed.environments import BuildFailed, Environments
from poolform.provisioners.managed.processes import time_limit, with_python_of
from poolform.provisioners.managed.uv import find_uv, index_settings
from poolform.provisioners.process.strings import STRING_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolform.core.runs.launchers import Job, JobStatus, Json, LogPage
    from poolform.provisioners.docker.engine import Engine

_RUNTIME = "/poolform/runtime"
_UV = "/poolform/uv"
_QUIET = {"UV_NO_PROGRESS": "1", "UV_NO_CACHE": "1", "UV_LINK_MODE": "copy", "PIP_NO_CACHE_DIR": "1"}


class ManagedContainers(Launcher):
    """Starts containers that see an environment of their own, read-only, and nothing else of this machine."""

    remembers: ClassVar[timedelta] = timedelta.max
    secrets: ClassVar[Literal["native", "plain", "none"]] = "plain"
    payload_limit: ClassVar[int | None] = STRING_LIMIT

    def __init__(self, folder: Path, engine: Engine, pool_id: str, *, keep: float, grace: float = GRACE) -> None:
        self._folder, self._engine, self._pool_id, self._keep = folder, engine, pool_id, keep
        self._inner = DockerLauncher(engine, pool_id, grace=grace)
        self._images = Images(engine)
        self._by_image: dict[str, Environments] = {}

    def runtime_command(self) -> tuple[str, ...]:
        """Start the runtime that is mounted into every container."""
        return runtime.command(_RUNTIME)

    def launch(self, job: Job) -> str:
        """Start the job in its image, with the environment that it asks for, unless it was started."""
        packages = job.configuration.get("pip_packages") or ()
        environment = None
        if packages:
            environments = self._environments(job.configuration["image"])
            environment = environments.provide(packages)
            environments.use(environment, job.key)
        return self._inner.launch(self._contained(job, environment))

    def find(self, key: str) -> str | None:
        """Look for the job's container. Without one, no job has the environment that a worker took for it and died."""
        found = self._inner.find(key)
        if found is None:
            self._leave(key)
        return found

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Ask the engine; what it says of limits, it says of ours."""
        return {
            handle: replace(status, reason=status.reason and status.reason.replace("mem_limit", "memory"))
            for handle, status in self._inner.poll(handles).items()
        }

    def logs(self, handle: str, cursor: Json) -> LogPage:
        """Ask the engine."""
        return self._inner.logs(handle, cursor)

    def cancel(self, handle: str) -> None:
        """Have the engine stop the container."""
        self._inner.cancel(handle)

    def remove(self, handle: str) -> None:
        """Remove the container, and let its environment go."""
        self._inner.remove(handle)
        self._leave(handle.removeprefix("poolform-"))

    def remove_all(self) -> None:
        """Stop and remove all containers, and delete everything that the pool keeps."""
        self._inner.remove_all()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Close the connection to the engine."""
        self._inner.close()

    def _leave(self, key: str) -> None:
        """Let go of the environment of a job."""
        (self._folder / "environments" / "uses" / key).unlink(missing_ok=True)
        for environments in self._by_image.values():
            environments.leave(key)

    @cached_property
    def _runtime(self) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return runtime.lay_out(self._folder)

    def _environments(self, image: str) -> Environments:
        """Return the environments of an image; an image of the same name that is another one has others."""
        self._images.provide(image, "IfNotPresent", None)
        with asking(f"looking for the image {image}"):
            identity = self._engine.client.api.inspect_image(image)["Id"]
        if identity not in self._by_image:
            builder = ContainerBuilder(self._engine, image, identity, self._pool_id)
            folder = self._folder / "environments"
            self._by_image[identity] = Environments(folder, builder, keep=self._keep)
        return self._by_image[identity]

    def _contained(self, job: Job, environment: Path | None) -> Job:
        """Return the job as the Docker launcher takes it."""
        configuration = job.configuration
        volumes, command = [f"{self._runtime}:{_RUNTIME}:ro"], list(job.command)
        if environment is not None:
            volumes.append(f"{environment}:{environment}:ro")
            command = with_python_of(environment, command)
        limits: dict[str, Json] = {}
        if memory := configuration.get("memory"):
            limits = {"mem_limit": f"{memory}m", "memswap_limit": f"{memory}m"}
        docker = {
            "image": configuration["image"],
            "env": configuration.get("env"),
            "cpus": configuration.get("cpus"),
            "stream_output": configuration.get("stream_output", True),
            "volumes": volumes,
            "container_create_kwargs": {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]},
            **limits,
        }
        return replace(job, command=tuple(command), configuration=docker, env={**job.env, **time_limit(job)})


class ContainerBuilder:
    """Makes environments of an image's Python, in containers of it: whatever a package's build does, it does there."""

    def __init__(self, engine: Engine, image: str, identity: str, pool_id: str) -> None:
        self._engine, self._image, self._pool_id = engine, image, pool_id
        self.identity = identity

    @cached_property
    def _uv(self) -> str | None:
        return find_uv()

    def resolve(self, packages: Sequence[str]) -> Sequence[str]:
        """Return exact versions; without uv, what was asked for."""
        if self._uv is None:
            return packages
        command = ("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", "python3", "-")
        said = self._run([_UV, *command], packages, None)
        return [line.strip() for line in said.splitlines() if line.strip() and not line.lstrip().startswith("#")]

    def build(self, folder: Path, pins: Sequence[str]) -> None:
        """Make the environment under the very path at which jobs will see it."""
        folder.mkdir(mode=0o755)
        if self._uv is None:
            script = 'python3 -m venv "$0" && "$0/bin/python" -m pip install --quiet -r /dev/stdin'
        else:
            script = (
                f'{_UV} venv --quiet --no-project --clear --python python3 "$0" && '
                f'{_UV} pip install --quiet --no-deps --compile-bytecode --python "$0/bin/python" -r -'
            )
        self._run(["sh", "-c", script, str(folder)], pins, folder)

    def _run(self, command: Sequence[str], packages: Sequence[str], folder: Path | None) -> str:
        """Run a command in a container, with packages on its standard input. Raises BuildFailed."""
        from docker.errors import ContainerError

        settings = index_settings()
        mounts = [f"{self._uv}:{_UV}:ro"] if self._uv else []
        mounts += [f"{folder}:{folder}"] if folder else []
        mounts += [f"{path}:{path}:ro" for path in _local_indexes(settings)]
        with asking("making an environment", refusing=True):
            try:
                said: bytes = self._engine.client.containers.run(
                    self._image,
                    ["sh", "-c", 'printf "%s" "$POOLFORM_PACKAGES" | "$@"', "sh", *command],
                    entrypoint=[],
                    environment={**settings, "POOLFORM_PACKAGES": "\n".join([*packages, ""]), **_QUIET},
                    volumes=mounts,
                    labels={POOL_LABEL: self._pool_id},
                    init=True,
                    remove=True,
                    stderr=False,
                )
            except ContainerError as exc:
                raise BuildFailed((exc.stderr or b"").decode("utf-8", "replace") or str(exc)) from exc
            except LaunchRefused as exc:
                raise BuildFailed(str(exc)) from exc
        return said.decode("utf-8", "replace")


def _local_indexes(settings: Mapping[str, str]) -> list[str]:
    """Return folders of wheels that the settings name, which a container must be shown."""
    named = " ".join(value for name, value in settings.items() if "FIND_LINKS" in name).replace(",", " ").split()
    return [path for path in dict.fromkeys(named) if path.startswith("/") and Path(path).is_dir()]
