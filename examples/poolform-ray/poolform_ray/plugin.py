"""What Poolform sees of this package: the pool type `ray`, and the hook that brings it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from poolform import Connection, Finding, JobVariables, PoolType, Variables, hookimpl
from poolform_ray.launcher import RayLauncher, reach


class RayVariables(Variables):
    """A cluster that is there already: a pool makes nothing, and leaves nothing when it goes."""

    address: str = Field(
        "http://127.0.0.1:8265", description="Address of the cluster's dashboard, which serves the Jobs API."
    )

    @field_validator("address")
    @classmethod
    def _plain(cls, address: str) -> str:
        scheme, _, rest = address.partition("://")
        if scheme not in ("http", "https") or not rest.strip("/"):
            raise ValueError("it must be http://HOST:PORT or https://HOST:PORT")
        if "@" in rest:
            raise ValueError("it must not hold a password: variables are stored in clear")
        return address.rstrip("/")


class RayJobVariables(JobVariables):
    """The settings of one job. `env` is the flow's own; what its Ray tasks are to see goes into `runtime_env`."""

    pip_packages: list[str] = Field(
        default_factory=list, description="Packages that Ray installs for the job, and for the tasks that it starts."
    )
    image: str | None = Field(
        None, description="Container image of the job (Ray's image_uri), where the nodes can run containers."
    )
    cpu: float = Field(1, ge=0, description="CPUs that the flow's own process takes; 0 keeps it on the head node.")
    gpu: float = Field(0, ge=0, description="GPUs that it takes.")
    memory: int | None = Field(None, ge=1, description="Memory that it takes, in MiB.")
    resources: dict[str, float] = Field(default_factory=dict, description="Custom resources that it takes.")
    runtime_env: dict[str, Any] = Field(
        default_factory=dict, description="More of Ray's runtime environment, such as env_vars and py_modules."
    )


class Ray(PoolType):
    """Runs each flow as a job of a Ray cluster."""

    slug = "ray"
    title = "Ray"
    description = "Run flows as jobs of a Ray cluster that is there already."
    variables = RayVariables
    job_variables = RayJobVariables

    def preflight(self, variables, resources):
        """Ask whether the cluster answers, before anything is stored."""
        return [_finding(variables.address)]

    def connect(self, variables, outputs):
        """Keep the address."""
        return Connection(settings={"address": variables.address})

    def launcher(self, connection, credential):
        """Return what submits jobs to the cluster."""
        return RayLauncher(connection.settings["address"])

    def authenticate(self, connection, credential):
        """Say whether the cluster still answers, for `drift`."""
        return _finding(connection.settings["address"])


def _finding(address: str) -> Finding:
    try:
        version = reach(address)["ray_version"]
    except (OSError, ValueError, KeyError) as exc:
        hint = "Is that its dashboard, and ray[default] installed there? ray start --head --dashboard-host=…"
        return Finding("cluster", "missing", f"No Ray cluster answers at {address}: {exc}.", hint)
    return Finding("cluster", "allowed", f"Ray {version} answers at {address}.")


@hookimpl
def poolform_pool_types():
    """Bring the pool type."""
    return [Ray]
