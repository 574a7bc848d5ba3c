"""One pool's module, rendered and driven by the real Terraform as core drives it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolform.core.settings import Settings
from poolform.core.terraform.engine import Setup, Terraform
from poolform.core.terraform.locate import locate
from poolform.core.terraform.providers import DataFolder
from poolform.core.terraform.render import Module, render
from poolform.core.terraform.workspace import STATE_FILE, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from poolform.core.pools.contract import PoolType, Variables
    from poolform.core.terraform.engine import ResourceEvent
    from poolform.core.terraform.plan import Plan


class _Silence:
    """A listener that hears nothing."""

    def on_resource(self, event: ResourceEvent) -> None:
        pass

    def on_notice(self, text: str) -> None:
        pass


@dataclass(frozen=True)
class Trial:
    """A pool that lives in a test: its variables, its id, its module in a workspace."""

    pool_type: PoolType
    variables: Variables
    pool_id: str
    module: Module
    workspace: Workspace
    terraform: Terraform

    @classmethod
    def start(cls, pool_type: PoolType, variables: Variables, folder: Path, *, pool_id: str = "ab12cd34") -> Trial:
        """Render a pool into a folder of its own and make it ready to plan."""
        module = render(pool_type, variables, pool_name="trial", pool_id=pool_id)
        settings = Settings.from_environment()
        workspace = Workspace(folder)
        workspace.write(module.files)
        setup = Setup(locate(settings), settings, os.environ, _Silence())
        # An init that finds every provider running already has nothing to put into the data folder, and makes none.
        data = DataFolder(settings, setup.binary, module.providers, setup.backend, workspace)
        data.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        terraform = Terraform(setup, workspace, module)
        terraform.prepare()
        return cls(pool_type, variables, pool_id, module, workspace, terraform)

    def provision(self) -> Mapping[str, Any]:
        """Plan and apply; return the outputs. Raises TerraformError when a resource fails."""
        self.terraform.plan()
        return self.terraform.apply()

    def plan(self) -> Plan:
        """Plan once more."""
        return self.terraform.plan()

    def state(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Yield address, type and attributes of each managed resource in the state file (version 4)."""
        document = json.loads(self.workspace.read(STATE_FILE) or "{}")
        for resource in document.get("resources", ()):
            if resource["mode"] == "managed":
                for instance in resource["instances"]:
                    key = f"[{json.dumps(instance['index_key'])}]" if "index_key" in instance else ""
                    yield f"{resource['type']}.{resource['name']}{key}", resource["type"], instance["attributes"]

    def destroy(self) -> None:
        """Plan the end, and carry it out. Raises TerraformError when a resource fails."""
        self.terraform.plan(destroy=True)
        self.terraform.apply()


def hcl_of(module: Module) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file that Terraform reads as code."""
    return ((name, text) for name, text in module.files.items() if name.endswith(".tf"))
