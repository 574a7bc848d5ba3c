"""The pool types `lab` and `bare-lab`, a review of plans, a block type and a command."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, ClassVar

import typer
from pydantic import Field, SecretStr

from poolform import (
    Block,
    Connection,
    Finding,
    JobVariables,
    Outputs,
    PoolType,
    Review,
    Variables,
    hookimpl,
)
from poolform_lab.launcher import BenchLauncher

if TYPE_CHECKING:
    from collections.abc import Iterable


class LabVariables(Variables):
    folder: str = Field(description="Folder that stands for the laboratory.")
    benches: int = Field(1, ge=1, description="How many benches it has.")
    lamp: bool = Field(default=False, description="Whether there is a lamp.")
    colour: str = Field("white", description="Colour of the lamp.")


class LabOutputs(Outputs):
    benches: list[str]


class LabJobVariables(JobVariables):
    bench: int = Field(0, description="Index of the bench to work at.")


class Lab(PoolType):
    slug = "lab"
    title = "Laboratory"
    variables = LabVariables
    outputs = LabOutputs
    job_variables = LabJobVariables
    templates = files("poolform_lab") / "templates"
    nouns: ClassVar = {"terraform_data": "a bench at {input}"}

    def preflight(self, variables, resources) -> Iterable[Finding]:
        if variables.folder.startswith("/forbidden"):
            yield Finding("lab.enter", "missing", "the door is locked", hint="Ask the caretaker for lab.enter.")
        yield Finding("lab.light", "unknown", "nobody can tell")

    def connect(self, variables, outputs) -> Connection:
        return Connection(settings={"benches": outputs.benches}, image_namespace="lab.example/images")

    def launcher(self, connection, credential):
        return BenchLauncher(connection.settings["benches"])


class BareLab(Lab):
    """An existing laboratory: nothing to provision."""

    slug = "bare-lab"
    title = "Existing laboratory"
    variables = LabVariables
    outputs = Outputs
    templates = None

    def connect(self, variables, outputs) -> Connection:
        return Connection(settings={"benches": [f"{variables.folder}/bare"]})


class LabBadge(Block):
    block_type = "lab-badge"
    title = "Badge of the laboratory"
    holder: str
    number: SecretStr


@hookimpl
def poolform_pool_types():
    return [Lab, BareLab]


@hookimpl
def poolform_block_types():
    return [LabBadge]


@hookimpl
def poolform_review_plan(pool, plan):
    if pool.type == "lab" and len(plan.changes) > 5:
        yield Review("error", "more than five changes at once", plan.changes[0].address)
    if pool.type == "lab" and pool.variables.get("colour") == "red":
        yield Review("warning", "red light is for photographs")


@hookimpl
def poolform_commands(app):
    lab = typer.Typer(help="The laboratory.")

    @lab.command("greet")
    def greet(name: str) -> None:
        """Greet somebody."""
        typer.echo(f"The laboratory greets {name}.")

    @lab.command("sweep")
    def sweep() -> None:
        """Sweep the floor."""
        typer.echo("Swept.")

    app.add_typer(lab, name="lab")
