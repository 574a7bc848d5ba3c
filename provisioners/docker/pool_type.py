"""The pool type `docker`: what it is made of, which engine it is on, and how it is taken apart."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, ClassVar

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Connection, Finding, PoolType, Provider
from poolform.core.runs.launchers import Unavailable
from poolform.provisioners.docker import engine
from poolform.provisioners.docker.job_variables import DockerJobVariables
from poolform.provisioners.docker.launcher import DockerLauncher
from poolform.provisioners.docker.variables import DockerOutputs, DockerVariables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolform.core.pools.contract import Credential, Identity
    from poolform.core.runs.launchers import Json


class Docker(PoolType):
    """Runs each job as a container of its own."""

    slug = "docker"
    title = "Docker"
    description = "Containers on a Docker engine, here or elsewhere."
    variables = DockerVariables
    outputs = DockerOutputs
    job_variables = DockerJobVariables
    # Required only by pools that ask for a network or a volume; versions from 3.1 on know contexts.
    providers: ClassVar[Mapping[str, Provider]] = {"docker": Provider("kreuzwerker/docker", ">= 3.1, < 5.0")}
    extra = "poolform[docker]"
    templates = files("poolform.templates") / "docker"
    nouns: ClassVar[Mapping[str, str]] = {
        "terraform_data": "a Docker pool on {input[host]}",
        "docker_network": "a network {name} for jobs",
        "docker_volume": "a volume {name} for jobs to share",
    }

    def discover(self) -> Mapping[str, Json]:
        """Return the engine that the docker program would use from here."""
        return {"host": engine.found_host()}

    def identity(self, variables: DockerVariables) -> Identity:
        """Return which engine answers."""
        return engine.identify(variables)

    def preflight(self, variables: DockerVariables, resources: Sequence[str]) -> Iterable[Finding]:
        """Look at the engine's version and abilities."""
        return engine.check(variables)

    def connect(self, variables: DockerVariables, outputs: DockerOutputs) -> Connection:
        """Say where jobs run, and what they share."""
        defaults: dict[str, Json] = {}
        if network := outputs.network or variables.network:
            defaults["networks"] = [network]
        if outputs.volume:
            defaults["volumes"] = [f"{outputs.volume}:{variables.volume_path}"]
        return Connection(
            settings={"host": variables.host, "engine": variables.engine, "pool_id": outputs.pool_id},
            job_defaults=defaults,
            image_namespace=variables.image_namespace,
        )

    def launcher(self, connection: Connection, credential: Credential | None) -> DockerLauncher:
        """Return a launcher for the pool's engine."""
        settings = connection.settings
        return DockerLauncher(engine.Engine(settings["host"], settings["engine"]), settings["pool_id"])

    def authenticate(self, connection: Connection, credential: Credential | None) -> Finding:
        """Say whether the pool's engine answers."""
        way = engine.Engine(connection.settings["host"], connection.settings["engine"])
        try:
            version = way.client.version()["Version"]
        except (Unavailable, PoolformError) as exc:
            return Finding("engine", "missing", str(exc), "Start it: systemctl start docker, or Docker Desktop.")
        finally:
            way.close()
        return Finding("engine", "allowed", f"Docker {version} answers at {connection.settings['host']}.")

    def disconnect(self, connection: Connection, credential: Credential | None) -> None:
        """Stop and remove the pool's containers."""
        launcher = self.launcher(connection, credential)
        try:
            launcher.remove_all()
        except Unavailable as exc:
            raise PoolformError(
                f"The pool's containers cannot be removed: {exc}.", hint="Start the engine, and deprovision again."
            ) from exc
        finally:
            launcher.close()
