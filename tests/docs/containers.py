"""A pool type for the tests of pages: jobs are containers of this machine's engine, started by the process launcher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from poolform import Connection, JobVariables, Outputs, PoolType, Variables, hookimpl
from poolform.core.runs.bootstrap import bootstrap_command
from poolform.provisioners.process.launcher import ProcessLauncher


class ContainersVariables(Variables):
    folder: str
    registry: str


class ContainersJobVariables(JobVariables):
    image: str = "python:3.12-slim"


class ContainerLauncher(ProcessLauncher):
    def runtime_command(self):
        return bootstrap_command()

    def launch(self, job):
        names = [word for name in (*job.env, *job.secrets) for word in ("--env", name)]
        return super().launch(
            replace(job, command=("docker", "run", "--rm", *names, job.configuration["image"], *job.command))
        )


class Containers(PoolType):
    slug = "containers"
    title = "Containers"
    variables = ContainersVariables
    outputs = Outputs
    job_variables = ContainersJobVariables

    def connect(self, variables, outputs):
        return Connection(settings={"folder": variables.folder}, image_namespace=variables.registry)

    def launcher(self, connection, credential):
        return ContainerLauncher(Path(connection.settings["folder"]))


@hookimpl
def poolform_pool_types():
    return [Containers]
